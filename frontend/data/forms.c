/* frontend/data/forms.c - the forms of files that hold samples, a row each. */
#include "frontend/data/data.h"
#include "frontend/data/picture.h"
#include "ir/bundle.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const Form forms[] = {
    {.endings = " .npy",
     .many = ".npy",
     .count = npy_count,
     .read = npy_read,
     .damaged = npy_damaged,
     .load = npy_load},
    {.endings = " .pb",
     .many = ".pb",
     .single = true,
     .read = pb_read,
     .damaged = pb_damaged,
     .load = pb_load,
     .bundles = true},
    {.endings = " .npz",
     .many = ".npz",
     .keyed = true,
     .count = npz_count,
     .read = npz_read,
     .damaged = npz_damaged},
    {.endings = " .bin",
     .many = ".bin",
     .check = raw_check,
     .count = raw_count,
     .read = raw_read},
    {.endings = NULL,
     .many = "pictures",
     .single = true,
     .check = image_check,
     .read = image_read,
     .damaged = image_damaged},
};

const Form *form_at(size_t i)
{
    return i < sizeof forms / sizeof *forms ? &forms[i] : NULL;
}

/* Whether a file of that name is of the form, by its ending, in any case. */
static bool is_form(const Form *form, const char *name)
{
    const char *dot = strrchr(name, '.');
    if (!form->endings) return picture_named(name);
    size_t n = dot ? strlen(dot) : 0;
    for (const char *p = form->endings; n && (p = strchr(p, ' ')); p++)
        if (!strncasecmp(p + 1, dot, n) && (p[n + 1] == ' ' || !p[n + 1])) return true;
    return false;
}

const Form *form_of(const char *name)
{
    for (size_t i = 0; form_at(i); i++)
        if (is_form(&forms[i], name)) return &forms[i];
    return NULL;
}

const char *form_endings(char text[ENDINGS_TEXT])
{
    size_t at = 0;
    for (size_t i = 0; form_at(i); i++)
        for (const char *p = forms[i].endings; p; p = strchr(p + 1, ' '))
            at += (size_t)snprintf(text + at, ENDINGS_TEXT - at, "%.*s, ", (int)strcspn(p + 1, " "),
                                   p + 1);
    snprintf(text + at, ENDINGS_TEXT - at, "%s", picture_extensions());
    return text;
}

static bool unknown_form(qonnx_ctx *cx, const char *path)
{
    char endings[ENDINGS_TEXT];
    return qonnx_fail(cx, NULL, "%s: no sample file; %s are read", path, form_endings(endings));
}

/* Whether files of the form can hold what has that type. */
static bool can_hold(qonnx_ctx *cx, const Form *form, const char *path, qonnx_dtype t)
{
    return !form || form->bundles || (!is_bundle(t) && t != QONNX_STRING) ||
           qonnx_fail(cx, NULL, "%s: %s is read from .pb files only", path, qonnx_dtype_name(t));
}

bool sample_damaged(const char *path)
{
    struct stat st;
    const Form *form = form_of(path);
    if (stat(path, &st)) return errno == ENOENT;
    if (S_ISREG(st.st_mode) && !st.st_size) return true;
    qonnx_ctx *cx = qonnx_ctx_new();
    FileMap m;
    bool damaged = false;
    if (form && form->damaged && file_map(cx, path, &m)) {
        damaged = form->damaged(cx, path, &m);
        file_unmap(&m);
    }
    qonnx_ctx_free(cx);
    return damaged;
}

bool sample_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count, bool *damaged)
{
    const Form *form = form_of(path);
    *count = 1;
    if (damaged) *damaged = false;
    if (!form) return unknown_form(cx, path);
    if (!can_hold(cx, form, path, f->dtype)) return false;
    if (form->single) return true;
    qonnx_ctx *own = qonnx_ctx_new(); /* damage is no failure yet */
    bool ok = form->count(own, f, path, count);
    if (!ok && damaged) *damaged = ok = sample_damaged(path);
    if (!ok) ctx_take_error(cx, own);
    qonnx_ctx_free(own);
    return ok;
}

bool sample_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out)
{
    const Form *form = form_of(path);
    if (!can_hold(cx, form, path, f->dtype)) return false;
    return form ? form->read(cx, f, path, row, out) : unknown_form(cx, path);
}

bool qonnx_tensor_load(qonnx_ctx *cx, const char *path, qonnx_dtype want, qonnx_tensor *t)
{
    const Form *form = form_of(path);
    *t = (qonnx_tensor){0};
    input_add(cx, path, "a sample");
    if (!can_hold(cx, form, path, want)) return false;
    if (form && form->load) return form->load(cx, path, want, t);
    return qonnx_fail(cx, NULL, "%s: no tensor file; .npy and .pb are read", path);
}
