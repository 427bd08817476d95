/* selftest.h - what a self-test is written with. */
#include <stdio.h>
#include <string.h>

/* Compares an output with what is expected. Returns 0 when every byte is the same. */
static int differs(const char *what, const void *got, const void *want, size_t bytes)
{
    const unsigned char *a = (const unsigned char *)got, *b = (const unsigned char *)want;
    size_t different = 0;
    for (size_t i = 0; i < bytes; i++) different += a[i] != b[i];
    printf("%s: %lu of %lu bytes differ\n", what, (unsigned long)different, (unsigned long)bytes);
    return different != 0;
}

#ifdef SELFTEST_WEIGHTS
/* Reads a file of that size. Returns 0 when it did. */
static int load(const char *path, void *to, size_t bytes)
{
    FILE *f = fopen(path, "rb");
    size_t got = f ? fread(to, 1, bytes, f) : 0;
    if (f) fclose(f);
    if (got != bytes) printf("%s: cannot be read\n", path);
    return got != bytes;
}
#endif
