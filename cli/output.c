/* cli/output.c - see output.h. */
#include "output.h"
#include <qonnx/graph.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
