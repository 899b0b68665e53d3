#pragma once
#include <vector>

int sum(const std::vector<int> &numbers);
