/* tests/files.h - for tests that read files: a directory of their own, and small files in it. */
#ifndef TESTS_FILES_H
#define TESTS_FILES_H

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char files_directory[PATH_MAX];

/* Group setup: makes a new directory and goes there. */
static inline int enter_directory(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(files_directory, sizeof files_directory, "%s/qonnx-test-XXXXXX",
             parent ? parent : P_tmpdir);
    return mkdtemp(files_directory) ? chdir(files_directory) : -1;
}

static inline int files_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* Group teardown: removes it with all that is in it. */
static inline int leave_directory(void **state)
{
    (void)state;
    if (chdir("/")) return -1;
    return nftw(files_directory, files_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void put_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static inline void put_text(const char *path, const char *text)
{
    put_file(path, text, strlen(text));
}

/* The file's first bytes, at most `room`; returns how many. */
static inline size_t get_file(const char *path, uint8_t *data, size_t room)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(data, 1, room, f);
    fclose(f);
    return n;
}

static inline void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

#endif
