#include "plain.h"
#include "shapes.h"

#include <filesystem>
#include <iostream>
#include <locale>
#include <memory>
#include <pthread.h>
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <regex>
#include <sstream>
#include <thread>
#include <typeindex>

namespace py = pybind11;

static std::string caught(const std::function<void()> &function) {
    try { function(); }
    catch (const Refused &error) { return "Refused " + std::to_string(error.code); }
    catch (const std::invalid_argument &) { return "invalid_argument"; }
    catch (const std::filesystem::filesystem_error &) { return "filesystem_error"; }
    catch (const std::ios_base::failure &) { return "ios_failure"; }
    catch (const std::system_error &error) { return error.code() == std::errc::timed_out ? "system_error" : "?"; }
    catch (const std::out_of_range &) { return "out_of_range"; }
    catch (const std::bad_cast &) { return "bad_cast"; }
    catch (const std::bad_alloc &) { return "bad_alloc"; }
    catch (const std::nested_exception &outer) {
        try { outer.rethrow_nested(); } catch (const Refused &error) { return "nested " + std::to_string(error.code); }
    }
    catch (const std::exception &error) { return error.what(); }
    catch (int number) { return std::to_string(number); }
    catch (const std::string &text) { return text; }
    catch (const std::vector<int> &numbers) { return "vector " + std::to_string(sum(numbers)); }
    return "nothing";
}

static std::string streams() {
    std::ostringstream stream;
    stream.imbue(std::locale(std::locale::classic(), new std::numpunct<char>));
    write_to(stream, "from the library");
    stream << ' ' << 255; // still hexadecimal: one ios_base for both
    return stream.str();
}

static void *ending(void *ended) {
    struct Cleanup { bool *ended; ~Cleanup() { *ended = true; } } cleanup{static_cast<bool *>(ended)};
    write_to(std::cout, "");
    pthread_exit(nullptr); // the C library unwinds this frame
}

static bool unwound_by_pthread_exit() {
    bool ended = false;
    pthread_t thread;
    pthread_create(&thread, nullptr, ending, &ended);
    pthread_join(thread, nullptr);
    return ended;
}

PYBIND11_MODULE(_one, m) {
    py::class_<Shape>(m, "Shape").def("sides", &Shape::sides);
    m.def("caught", [](const std::string &name) { return caught([&] { throw_by_name(name); }); });
    m.def("caught_by_library", [](int code) { return caught_by_library([=] { throw Refused(code); }); });
    m.def("raised", [](const std::string &name) { throw_by_name(name); });
    m.def("from_thread", [](const std::string &name) {
        return caught([&] { std::rethrow_exception(thrown_in_thread(name)); });
    });
    m.def("make", [](const std::string &name) { return std::unique_ptr<Shape>(make(name)); });
    m.def("kind", [](const std::string &name) -> std::string {
        std::unique_ptr<Shape> shape(make(name));
        if (dynamic_cast<Square *>(shape.get())) return "square";
        return dynamic_cast<Box<int> *>(shape.get()) && typeid(*shape) == typeid(Box<int>) ? "box" : "unknown";
    });
    m.def("same_types", [] {
        return type_of_int() == typeid(int) && std::type_index(type_of_int()) == std::type_index(typeid(int)) &&
               std::any_cast<std::vector<int>>(any_of(5)).at(0) == 5;
    });
    m.def("streams", &streams);
    m.def("threads", &threads_with_locals);
    m.def("once", &made_once);
    m.def("load", &load);
    m.def("early", &early);
    m.def("print", [](const std::string &text) { std::cout << text; });
    m.def("matches", [](const std::string &text) { return std::regex_match(text, std::regex("[a-z]+[0-9]{2}")); });
    m.def("unwound_by_pthread_exit", &unwound_by_pthread_exit);
}
