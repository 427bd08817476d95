/* cli/compare.c - see compare.h. */
#include "compare.h"
#include "tensor.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- likeness -------------------------------------------------------------------------------- */

static int64_t largest_index(const qonnx_tensor *t, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (element(t, i) > element(t, best)) best = i;
    return best;
}

void likeness_add(Likeness *l, const qonnx_tensor *y, const qonnx_tensor *ref, bool pair)
{
    int64_t count = qonnx_tensor_elements(ref);
    if (qonnx_tensor_elements(y) != count) {
        l->unlike = true;
        return;
    }
    if (!is_real(ref->dtype) || !is_real(y->dtype)) return;
    for (int64_t i = 0; i < count; i++) {
        double a = element(ref, i), b = element(y, i);
        if (!isfinite(a) || !isfinite(b)) {
            l->strange++;
            continue;
        }
        l->signal += a * a;
        l->noise += (a - b) * (a - b);
        l->compared++;
    }
    if (!pair || !vector_length(ref) || !vector_length(y)) return;
    l->paired++;
    l->agreeing += largest_index(y, count) == largest_index(ref, count);
}

bool likeness_known(const Likeness *l) { return l->compared && !l->unlike; }

double likeness_sqnr(const Likeness *l)
{
    return l->noise == 0 ? INFINITY : 10 * log10(l->signal / l->noise);
}

const char *sqnr_text(char *out, const Likeness *l)
{
    if (!likeness_known(l)) strcpy(out, "-");
    else if (l->noise == 0) strcpy(out, "exact");
    else snprintf(out, SQNR_ROOM, "%.2f dB", likeness_sqnr(l));
    return out;
}

const char *percent_text(char *out, bool known, size_t part, size_t all)
{
    if (known) snprintf(out, PERCENT_ROOM, "%.2f %%", 100 * (double)part / (double)all);
    else strcpy(out, "-");
    return out;
}

/* ---- the reference --------------------------------------------------------------------------- */

static bool fails(Reference *r)
{
    r->fault = errno ? strerror(errno) : "too short";
    return false;
}

bool reference_open(Reference *r)
{
    errno = 0;
    *r = (Reference){.file = tmpfile()};
    return r->file || fails(r);
}

bool reference_write(Reference *r, const qonnx_tensor *t)
{
    errno = 0;
    bool good = fwrite(t, sizeof *t, 1, r->file) == 1 &&
                (!t->bytes || fwrite(t->data, 1, t->bytes, r->file) == t->bytes);
    return good || fails(r);
}

bool reference_read(Reference *r, qonnx_tensor *t)
{
    errno = 0;
    if (fread(t, sizeof *t, 1, r->file) != 1) return fails(r);
    if (t->bytes > r->room) {
        free(r->buffer);
        r->buffer = malloc(t->bytes);
        r->room = r->buffer ? t->bytes : 0;
        if (!r->buffer) return fails(r);
    }
    t->data = r->buffer;
    return !t->bytes || fread(r->buffer, 1, t->bytes, r->file) == t->bytes || fails(r);
}

void reference_rewind(Reference *r) { rewind(r->file); }

void reference_close(Reference *r)
{
    if (r->file) fclose(r->file);
    free(r->buffer);
    *r = (Reference){.fault = r->fault};
}
