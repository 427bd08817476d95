/* backends/c/files.c - the generated files: into memory first, then all into their places, or none.
 * What is there already is replaced only where qonnx made it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "backends/atomic_file.h"
#include "backends/c/model.h"

FILE *c_file_begin(CFile *f)
{
    f->stream = open_memstream(&f->text, &f->size);
    if (!f->stream) xmalloc(SIZE_MAX); /* says that memory is out */
    return f->stream;
}

bool c_file_end(CFile *f)
{
    FILE *stream = f->stream;
    f->stream = NULL;
    return !stream || !fclose(stream);
}

uint64_t c_file_hash(CFile *f)
{
    fflush(f->stream);
    return XXH3_64bits(f->text, f->size);
}

static const char *path_of(const CModel *m, const char *directory, int i)
{
    static const char *const endings[C_FILES] = {".h", ".bin", ".c", "Makefile", "_test.c"};
    return arena_printf(m->arena, "%s/%s%s", directory, i == C_MAKEFILE ? "" : m->prefix,
                        endings[i]);
}

bool c_files_spared(const CModel *m, const char *directory)
{
    bool ok = true;
    for (int i = 0; i < C_FILES && ok; i++)
        ok = (i == C_WEIGHTS && !m->weights_apart) ||
             qonnx_output_spares(m->cx, path_of(m, directory, i));
    return ok;
}

/* ---- what is there already ------------------------------------------------------------------- */

/* Reads what there is of a file into text[size], as a string, and its XXH3; "" where there is none.
 * Returns its length, -1 after saying why it cannot be read. */
static int64_t read_file(const CModel *m, const char *path, char *text, size_t size, uint64_t *hash)
{
    char data[1 << 12];
    XXH3_state_t state;
    int64_t bytes = 0;
    text[0] = 0;
    if (XXH3_64bits_reset(&state) != XXH_OK) return -1;
    FILE *f = fopen(path, "r");
    for (size_t n; f && (n = fread(data, 1, sizeof data, f)); bytes += (int64_t)n) {
        size_t at = (size_t)bytes, room = at + 1 < size ? size - 1 - at : 0;
        XXH3_64bits_update(&state, data, n);
        if (!room) continue;
        memcpy(text + at, data, n < room ? n : room);
        text[at + (n < room ? n : room)] = 0;
    }
    *hash = XXH3_64bits_digest(&state);
    bool good = f ? !ferror(f) : errno == ENOENT;
    if (!good) qonnx_fail(m->cx, NULL, "%s: cannot read: %s", path, strerror(errno));
    if (f) fclose(f);
    return good ? bytes : -1;
}

static bool is_made_here(const char *head) { return strcasestr(head, "made by qonnx ") != NULL; }

void c_print_weights_line(const CModel *m, const char *lead, FILE *f)
{
    if (m->weights_apart)
        fprintf(f, "%sThe constants are in %s.bin: %zu bytes, XXH3 %016" PRIx64 ".", lead,
                m->prefix, m->weights, m->weights_hash);
}

/* Whether a file of that head names the NAME.bin of that length and hash. Versions before 1.0 did
 * not write the hash: the number of bytes has to do. */
static bool names_weights(const CModel *m, const char *head, int64_t bytes, uint64_t hash)
{
    char line[256], old[256];
    if (!is_made_here(head)) return false;
    snprintf(line, sizeof line, "The constants are in %s.bin: %lld bytes, XXH3 %016" PRIx64 ".",
             m->prefix, (long long)bytes, hash);
    if (strstr(head, "The constants are in ")) return strstr(head, line) != NULL;
    snprintf(line, sizeof line, "Constants in %s.bin, little endian", m->prefix);
    snprintf(old, sizeof old, "_WEIGHTS_BYTES %lld\n", (long long)bytes);
    return strstr(head, line) && strstr(head, old);
}

/* Whether NAME.bin is there and was made here: NAME.h or NAME.c of the same run says so, of which
 * one may be newer already, if that run was stopped in between. False in `*good`: a file cannot be
 * read. */
static bool is_own_weights(const CModel *m, const char *directory, bool *good)
{
    char *text = xmalloc(1 << 16);
    uint64_t hash, other;
    const char *path = path_of(m, directory, C_WEIGHTS);
    bool there = !access(path, F_OK) || errno != ENOENT, own = false;
    int64_t bytes = there ? read_file(m, path, text, 1, &hash) : 0;
    *good = bytes >= 0;
    for (int i = C_HEADER; there && *good && i <= C_SOURCE && !own; i += C_SOURCE - C_HEADER) {
        *good = read_file(m, path_of(m, directory, i), text, 1 << 16, &other) >= 0;
        own = *good && names_weights(m, text, bytes, hash);
    }
    free(text);
    return own;
}

/* Whether the file is not there, or was made here. */
static bool may_replace(const CModel *m, const char *directory, int i, bool own_weights)
{
    const char *path = path_of(m, directory, i);
    char head[512];
    uint64_t hash;
    if (access(path, F_OK) && errno == ENOENT) return true;
    if (i != C_WEIGHTS && read_file(m, path, head, sizeof head, &hash) < 0) return false;
    return (i == C_WEIGHTS ? own_weights : is_made_here(head)) ||
           qonnx_fail(m->cx, NULL,
                      "%s: is there already and not made by qonnx; choose another directory or "
                      "prefix",
                      path);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Makes the directory, unless it is there. */
static bool make_directory(qonnx_ctx *cx, const char *directory, bool *made)
{
    struct stat s;
    int error = mkdir(directory, 0777) ? errno : 0;
    *made = !error;
    if (error == EEXIST && !stat(directory, &s) && !S_ISDIR(s.st_mode)) error = ENOTDIR;
    return !error || error == EEXIST ||
           qonnx_fail(cx, NULL, "%s: cannot be made a directory: %s", directory, strerror(error));
}

bool c_files_write(const CModel *m, const char *directory, const CFile files[C_FILES])
{
    bool made = false, ok, own = is_own_weights(m, directory, &ok);
    for (int i = 0; i < C_FILES && ok; i++)
        ok = !files[i].text || may_replace(m, directory, i, own);
    ok = ok && make_directory(m->cx, directory, &made);
    AtomicFile *parts[C_FILES] = {NULL};
    int count = 0;
    for (int i = 0; i < C_FILES && ok; i++) {
        if (!files[i].text && !(i == C_WEIGHTS && own)) continue;
        const char *path = path_of(m, directory, i);
        parts[count] = files[i].text ? atomic_open(m->cx, path) : atomic_remove(m->cx, path);
        ok = parts[count] &&
             (!files[i].text || atomic_write(parts[count], files[i].text, files[i].size));
        count += parts[count] != NULL;
    }
    if (ok) ok = atomic_commit_all(parts, count);
    for (int i = 0; i < count; i++) atomic_abort(parts[i]);
    if (!ok && made) rmdir(directory);
    return ok;
}
