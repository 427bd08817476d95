/* cli/inspect.h - the forms of qonnx inspect. */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include <stdbool.h>

/* Whether a file is one of statistics, by its name. */
bool is_statistics(const char *path);

/* Prints what a file of statistics holds; returns the exit status. */
int inspect_statistics(const char *path, bool json);

#endif
