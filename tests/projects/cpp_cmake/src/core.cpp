#include <cstddef>
#include <exception>
#include <filesystem>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace {

// Adds the numbers with two threads, each with one half.
long total(const std::vector<long> &numbers)
{
    const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
    long front = 0;
    std::thread helper([&] { front = std::accumulate(numbers.begin(), middle, 0L); });
    const long back = std::accumulate(middle, numbers.end(), 0L);
    helper.join();
    return front + back;
}

// Throws and catches within the module: the unwinder has to work.
std::string caught(const std::string &message)
{
    try {
        throw std::runtime_error(message);
    } catch (const std::exception &error) {
        return error.what();
    }
}

// Throws out of the module: pybind11 makes a ValueError of it.
[[noreturn]] void refuse(const std::string &message)
{
    throw std::invalid_argument(message);
}

std::string suffix(const std::string &path)
{
    return std::filesystem::path(path).extension().string();
}

bool exists(const std::string &path)
{
    return std::filesystem::exists(path);
}

} // namespace

PYBIND11_MODULE(_core, module)
{
    module.def("total", &total, pybind11::call_guard<pybind11::gil_scoped_release>());
    module.def("caught", &caught);
    module.def("refuse", &refuse);
    module.def("suffix", &suffix);
    module.def("exists", &exists);
}
