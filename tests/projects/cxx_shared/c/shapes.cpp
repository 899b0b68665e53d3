#include "shapes.h"

#include <atomic>
#include <dlfcn.h>
#include <filesystem>
#include <ios>
#include <iostream>
#include <memory>
#include <mutex>
#include <new>
#include <sstream>
#include <system_error>
#include <thread>

namespace {
std::atomic<int> alive{0};
thread_local std::unique_ptr<Counted> kept;
std::ostringstream first;

struct Early { // before main and before any other file's use of a stream
    Early() { std::cout << std::flush, first << std::boolalpha << true; }
} the_first;
}

Shape::~Shape() = default;
int Square::sides() const { return 4; }
Counted::Counted() { ++alive; }
Counted::~Counted() { --alive; }

void throw_by_name(const std::string &name) {
    if (name == "invalid_argument") throw std::invalid_argument("not this");
    if (name == "bad_alloc") throw std::bad_alloc();
    if (name == "system_error") throw std::system_error(std::make_error_code(std::errc::timed_out));
    if (name == "filesystem_error") std::filesystem::file_size("/no/such/file");
    if (name == "ios_failure") {
        std::istringstream stream("x");
        stream.exceptions(std::ios::failbit);
        int number = 0;
        stream >> number;
    }
    if (name == "out_of_range") std::string("short").at(99);
    if (name == "bad_cast") { Square square; Shape &shape = square; (void)dynamic_cast<Box<char> &>(shape); }
    if (name == "int") throw 42;
    if (name == "string") throw std::string("text");
    if (name == "vector") throw std::vector<int>{1, 2, 3};
    if (name == "Refused") throw Refused(7);
    if (name == "nested") {
        try { throw Refused(8); } catch (...) { std::throw_with_nested(std::logic_error("outer")); }
    }
}

std::string caught_by_library(const std::function<void()> &function) {
    try { function(); }
    catch (const Refused &error) { return "Refused " + std::to_string(error.code); }
    catch (const std::logic_error &error) { return std::string("logic_error ") + error.what(); }
    catch (const std::exception &error) { return std::string("exception ") + error.what(); }
    return "nothing";
}

Shape *make(const std::string &name) {
    if (name == "square") return new Square;
    return new Box<int>;
}

const std::type_info &type_of_int() { return typeid(int); }
std::any any_of(int number) { return std::vector<int>{number}; }
void write_to(std::ostream &stream, const std::string &text) { stream << text << ' ' << std::hex << 255 << std::flush; }

std::exception_ptr thrown_in_thread(const std::string &name) {
    std::exception_ptr found;
    std::thread([&] { try { throw_by_name(name); } catch (...) { found = std::current_exception(); } }).join();
    return found;
}

int threads_with_locals(int count) {
    std::atomic<int> most{0};
    std::vector<std::thread> threads;
    for (int number = 0; number < count; ++number)
        threads.emplace_back([&] { kept = std::make_unique<Counted>(); ++most; });
    for (auto &thread : threads) thread.join();
    return most * 100 + alive; // each thread's own was destroyed at its end
}

int made_once(int times) {
    std::once_flag flag;
    int made = 0;
    for (int number = 0; number < times; ++number) {
        try { std::call_once(flag, [&] { if (++made < 2) throw Refused(1); }); }
        catch (const Refused &) {}
    }
    return made;
}

std::string load(const std::string &plugin) {
    void *handle = dlopen(plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) return dlerror();
    auto create = reinterpret_cast<Shape *(*)()>(dlsym(handle, "create"));
    auto refuse = reinterpret_cast<void (*)()>(dlsym(handle, "refuse"));
    std::unique_ptr<Shape> shape(create());
    const std::string box = dynamic_cast<Box<long> *>(shape.get()) ? "box " : "unknown ";
    return box + caught_by_library(refuse);
}

std::string early() { return first.str(); }
