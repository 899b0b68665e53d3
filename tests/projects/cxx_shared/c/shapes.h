#pragma once
#include <any>
#include <exception>
#include <functional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <vector>

struct Refused : std::runtime_error {
    explicit Refused(int code) : std::runtime_error("refused"), code(code) {}
    int code;
};

struct Shape {
    virtual ~Shape();
    virtual int sides() const = 0;
};

struct Square : Shape {
    int sides() const override;
};

template <typename T>
struct Box : Shape { // each file that uses it has a vtable and type_info of its own
    int sides() const override { return 6; }
};

struct Counted {
    Counted();
    ~Counted();
};

void throw_by_name(const std::string &name);
std::string caught_by_library(const std::function<void()> &function);
Shape *make(const std::string &name);
const std::type_info &type_of_int();
std::any any_of(int number);
void write_to(std::ostream &stream, const std::string &text);
std::exception_ptr thrown_in_thread(const std::string &name);
int threads_with_locals(int count);
int made_once(int times);
std::string load(const std::string &plugin);
std::string early();
