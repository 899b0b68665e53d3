int count_letters(const char *text);

int main(int count, char **arguments) { return count > 1 ? count_letters(arguments[1]) : 1; }
