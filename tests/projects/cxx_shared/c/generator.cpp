#include <iostream>

int main() { std::cout << "generated"; }
