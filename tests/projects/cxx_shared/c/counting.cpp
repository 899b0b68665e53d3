#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

extern "C" int count_letters(const char *text) {
    try {
        std::map<char, int> found;
        for (char letter : std::string(text)) ++found[letter];
        std::cout << found.size(); // flushed at exit
        return found.at('z');
    } catch (const std::out_of_range &) {
        return 3;
    }
}
