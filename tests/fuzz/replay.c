/* tests/fuzz/replay.c - runs a fuzz target over files, so that what a fuzzer once found stays found
 * without one. Fails when an input takes more than a second for each 100 kB begun.
 *   replay [FILE-OR-DIRECTORY...]      directories are not searched below; missing ones are empty
 */
#include "tests/fuzz/fuzz.h"
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool replay_file(const char *path, int *count)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st)) return perror(path), false;
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size + !size);
    bool whole = data && fread(data, 1, size, f) == size;
    fclose(f);
    if (!whole) return perror(path), free(data), false;
    double start = now();
    LLVMFuzzerTestOneInput(data, size);
    double took = now() - start, most = 1 + (double)(size / 100000);
    free(data);
    ++*count;
    if (took <= most) return true;
    fprintf(stderr, "%s: took %.1f s, at most %.0f are allowed\n", path, took, most);
    return false;
}

static bool replay(const char *path, int *count)
{
    DIR *d = opendir(path);
    struct stat st;
    if (!d) return stat(path, &st) || replay_file(path, count);
    bool good = true;
    for (struct dirent *e; (e = readdir(d));) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.' && !replay_file(name, count)) good = false;
    }
    closedir(d);
    return good;
}

int main(int argc, char **argv)
{
    int count = 0;
    bool good = true;
    for (int i = 1; i < argc; i++)
        if (!replay(argv[i], &count)) good = false;
    printf("%d inputs replayed\n", count);
    return !good;
}
