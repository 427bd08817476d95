/* backends/leftover.h - what is not complete yet lies under names that begin with .qonnx- and the
 * number of the process. It is locked (flock) as long as that process lives, however it ends: what
 * nobody has locked is left over, and whoever writes into the same directory next removes it.
 */
#ifndef BACKENDS_LEFTOVER_H
#define BACKENDS_LEFTOVER_H

#include <stdbool.h>
#include <stddef.h>

/* Room for a temporary name. */
enum { TEMP_NAME = 64 };

/* A name that this process has not used yet, ended by `ending`, into name[TEMP_NAME]. Returns name.
 * [any thread] */
const char *temp_name(char *name, const char *ending);

/* Locks an open file or directory, where the file system has locks. */
void fd_lock(int fd);

/* Locks a new temporary file or directory. False if it was removed before, being taken for a left
 * over one: make another. Where the file system has no locks, it stays unlocked, and is never taken
 * for one. */
bool temp_lock(int fd);

/* Removes what is left over in a directory, as far as that can be done. */
void leftovers_remove(const char *directory);

/* Removes a directory and what is in it, `depth` levels of directories deep. By calls of the system
 * alone, so that a handler of signals may call it. */
void folder_remove(int dir, const char *name, int depth);

#endif
