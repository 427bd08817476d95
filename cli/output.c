/* cli/output.c - see output.h. */
#include "output.h"
#include "progress.h"
#include <qonnx/graph.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- text ------------------------------------------------------------------------------------ */

const char *clean_name(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s", name);
    qonnx_tame(out);
    return out;
}

const char *size_text(char *out, double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    int unit = 0;
    for (; bytes >= 999.5 && unit < 4; unit++) bytes /= 1000;
    int digits = !unit ? 0 : bytes < 10 ? 2 : bytes < 100 ? 1 : 0;
    snprintf(out, SIZE_ROOM, "%.*f %s", digits, bytes, units[unit]);
    return out;
}

const char *type_text(char *out, size_t size, const qonnx_value *v)
{
    qonnx_dtype type = qonnx_value_dtype(v);
    size_t n = (size_t)snprintf(out, size, "%s", type ? qonnx_dtype_name(type) : "?");
    int rank = qonnx_value_rank(v);
    if (rank < 0) n += (size_t)snprintf(out + n, n < size ? size - n : 0, "[...]");
    for (int i = 0; i < rank && n < size; i++) {
        int64_t dim = qonnx_value_dim(v, i);
        const char *symbol = qonnx_value_dim_name(v, i);
        char name[32];
        if (dim >= 0) snprintf(name, sizeof name, "%lld", (long long)dim);
        else clean_name(name, sizeof name, symbol ? symbol : "?");
        n += (size_t)snprintf(out + n, size - n, "%s%s%s", i ? "," : "[", name,
                              i + 1 == rank ? "]" : "");
    }
    return out;
}

/* ---- files ----------------------------------------------------------------------------------- */

double file_size(const char *path)
{
    struct stat s;
    return stat(path, &s) ? -1 : (double)s.st_size;
}

/* Whether the path exists and is that very file. */
static bool same_file(const struct stat *s, const char *path)
{
    struct stat other;
    return !stat(path, &other) && other.st_dev == s->st_dev && other.st_ino == s->st_ino;
}

/* The directory part of a path, as something that access() understands; malloc'd. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

bool output_apart(const char *path, const char *const *inputs, int count)
{
    struct stat s;
    if (stat(path, &s)) return true;
    for (int i = 0; i < count; i++) {
        const char *named = inputs[i] ? strchr(inputs[i], '=') : NULL;
        if (!inputs[i] || !(same_file(&s, inputs[i]) || (named && same_file(&s, named + 1))))
            continue;
        complain("%s: is an input as well; name another place to write to", path);
        return false;
    }
    return true;
}

/* Whether a file can be made in a directory: by making one, for rights are not all (root has them,
 * and yet nothing can be made in /proc). Sets errno. */
static bool can_create(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600); /* leaves no trace */
    if (fd < 0 && errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return false;
    char *name = NULL;
    if (fd < 0 && asprintf(&name, "%s/.qonnx-XXXXXX", directory) >= 0) {
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0) unlink(name);
        free(name);
    }
    if (fd >= 0) close(fd);
    return fd >= 0;
}

bool output_allowed(const char *path, const char *const *inputs, int count)
{
    struct stat s;
    if (!stat(path, &s) && !S_ISREG(s.st_mode)) {
        complain("%s: is %s; name a file to write to", path,
                 S_ISDIR(s.st_mode) ? "a directory" : "no regular file");
        return false;
    }
    if (!output_apart(path, inputs, count)) return false;
    char *directory = directory_of(path);
    bool found = directory && !stat(directory, &s);
    if (found && !S_ISDIR(s.st_mode)) errno = ENOTDIR;
    bool writable = found && S_ISDIR(s.st_mode) && can_create(directory);
    if (!writable) complain("%s: can not be written: %s", path, strerror(errno));
    free(directory);
    return writable;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

json_t *json_text(const char *s)
{
    json_t *text = json_string(s); /* NULL: not UTF-8 */
    char *copy = text ? NULL : strdup(s);
    if (copy) qonnx_tame(copy);
    if (!text) text = json_string(copy ? copy : "?");
    free(copy);
    return text;
}

json_t *json_number(double x)
{
    json_t *number = json_real(x);
    return number ? number : json_null();
}

void json_print(json_t *root)
{
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(root);
}
