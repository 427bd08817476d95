/* frontend/data/find.c - which files a data set's specs mean: one path in one of several forms, or
 * NAME=PATH for every input.
 */
#include "frontend/data/data.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "a, b, c": the names of the inputs, cut short where there are many. */
static const char *input_names(const qonnx_dataset *d, char text[256])
{
    size_t at = 0;
    text[0] = 0;
    for (int k = 0; k < d->nfeeds && at < 200; k++) {
        int n = snprintf(text + at, 256 - at, "%s%.40s", k ? ", " : "", d->feeds[k].name);
        at += (size_t)n;
    }
    if (at >= 200) memcpy(text + 200, "...", 4);
    return text;
}

/* Whether the files are one sample in the form of ONNX's backend tests: input_0.pb, input_1.pb,
 * and none beyond the model's inputs. */
static bool is_test_form(const qonnx_dataset *d, const Names *n)
{
    char beyond[32];
    snprintf(beyond, sizeof beyond, "input_%d.pb", d->nfeeds);
    return has_name(n->files, n->nfiles, "input_0.pb") && !has_name(n->files, n->nfiles, beyond);
}

/* Warns about what a directory holds beside the files that make it one sample. */
static void warn_beside(qonnx_ctx *cx, const char *root, const char *sub, const Names *n)
{
    const char *first = NULL;
    size_t files = 0;
    for (size_t i = 0; i < n->nfiles; i++) {
        const char *file = n->files[i];
        bool own = !strncmp(file, "input_", 6) || !strncmp(file, "output_", 7);
        if (kind_of(file) == KIND_OTHER || (own && kind_of(file) == KIND_PB)) continue;
        if (!files++) first = file;
    }
    if (n->nfolders && !first) first = n->folders[0];
    if (first)
        qonnx_warn(cx, NULL,
                   "%s%s%s: is one sample (input_0.pb), and what else stands there is left out: "
                   "%zu files of samples and %zu folders (the first: '%s'); move away what is not "
                   "meant",
                   root, *sub ? "/" : "", sub, files, n->nfolders, first);
}

/* Warns about folders of the root that were not taken. */
static void warn_unused(qonnx_ctx *cx, const char *root, size_t count, const char *first,
                        const char *wanted)
{
    if (count)
        qonnx_warn(
            cx, NULL,
            "%s: %zu %s left out (the first: '%s'), being no %s; move away what is not meant", root,
            count, count == 1 ? "folder is" : "folders are", first, wanted);
}

/* Adds the sample in the folder `sub` of `root` ("": the root itself). */
static bool add_test_form(qonnx_ctx *cx, qonnx_dataset *d, const char *root, const char *sub,
                          const Names *n)
{
    for (int k = 0; k < d->nfeeds; k++) {
        char file[32];
        snprintf(file, sizeof file, "input_%d.pb", k);
        if (!has_name(n->files, n->nfiles, file))
            return qonnx_fail(cx, NULL, "%s%s%s: has no %s for the model's input '%s'", root,
                              *sub ? "/" : "", sub, file, d->feeds[k].name);
        char *name = *sub ? path_join(sub, file) : string_copy(file);
        if (!d->listings[k].root) d->listings[k].root = string_copy(root);
        listing_add(&d->listings[k], root, name, -1);
        free(name);
    }
    warn_beside(cx, root, sub, n);
    return true;
}

/* Adds every folder of the root that is one sample in the tests' form; other folders stay out. */
static bool add_test_folders(qonnx_ctx *cx, qonnx_dataset *d, const char *root, const Names *n)
{
    bool ok = true;
    size_t left = 0;
    const char *first = NULL;
    for (size_t i = 0; ok && i < n->nfolders; i++) {
        Names sub;
        bool is_file;
        char *path = path_join(root, n->folders[i]);
        ok = names_read(cx, path, &is_file, &sub);
        free(path);
        if (ok && is_test_form(d, &sub)) ok = add_test_form(cx, d, root, n->folders[i], &sub);
        else if (!left++) first = n->folders[i];
        names_free(&sub);
    }
    if (ok && d->listings[0].nfiles)
        warn_unused(cx, root, left, first, "sample with an input_0.pb");
    return ok;
}

/* The folder that holds the samples of feed k: named as the input is, or input_K; NULL if there is
 * none. */
static const char *feed_folder(const qonnx_dataset *d, int k, bool by_name, const Names *n)
{
    char number[32];
    snprintf(number, sizeof number, "input_%d", k);
    const char *wanted = by_name ? d->feeds[k].name : number;
    for (size_t i = 0; i < n->nfolders; i++)
        if (!strcmp(n->folders[i], wanted)) return n->folders[i];
    return NULL;
}

/* Whether the root has a folder for every input, by one of the two ways to name them. */
static bool has_feed_folders(const qonnx_dataset *d, bool by_name, const Names *n)
{
    for (int k = 0; k < d->nfeeds; k++)
        if (!feed_folder(d, k, by_name, n)) return false;
    return true;
}

static bool add_feed_folders(qonnx_ctx *cx, qonnx_dataset *d, const char *root, bool by_name,
                             const Names *n)
{
    bool ok = true;
    for (int k = 0; ok && k < d->nfeeds; k++) {
        char *path = path_join(root, feed_folder(d, k, by_name, n));
        ok = listing_read(cx, path, &d->listings[k]);
        free(path);
    }
    size_t left = 0;
    const char *first = NULL;
    for (size_t i = 0; i < n->nfolders; i++) {
        bool taken = false;
        for (int k = 0; k < d->nfeeds; k++)
            taken |= !strcmp(n->folders[i], feed_folder(d, k, by_name, n));
        if (!taken && !left++) first = n->folders[i];
    }
    if (ok) warn_unused(cx, root, left, first, "input of the model");
    return ok && dataset_join(cx, d);
}

/* A directory of samples, for all inputs. */
static bool add_directory(qonnx_ctx *cx, qonnx_dataset *d, const char *path, const Names *n)
{
    char text[256];
    bool flat = false;
    if (has_name(n->files, n->nfiles, "labels.txt")) d->labels = path_join(path, "labels.txt");
    for (size_t i = 0; i < n->nfiles; i++) flat |= kind_of(n->files[i]) != KIND_OTHER;
    if (is_test_form(d, n)) return add_test_form(cx, d, path, "", n);
    if (!flat && has_feed_folders(d, true, n)) return add_feed_folders(cx, d, path, true, n);
    if (!flat && has_feed_folders(d, false, n)) return add_feed_folders(cx, d, path, false, n);
    if (!flat && !add_test_folders(cx, d, path, n)) return false;
    if (d->listings[0].nfiles) return true;
    if (d->nfeeds == 1) return listing_read(cx, path, &d->listings[0]);
    return qonnx_fail(cx, NULL,
                      "%s: the model has %d inputs (%s); give NAME=PATH for each, or a "
                      "directory with a folder of that name for each",
                      path, d->nfeeds, input_names(d, text));
}

/* A spec that is a path. */
static bool add_path(qonnx_ctx *cx, qonnx_dataset *d, const char *path)
{
    Names names;
    bool is_file;
    char text[256];
    if (!names_read(cx, path, &is_file, &names)) return false;
    bool ok;
    if (!is_file)
        ok = add_directory(cx, d, path, &names);
    else if (d->nfeeds == 1)
        ok = listing_read(cx, path, &d->listings[0]);
    else
        ok = qonnx_fail(cx, NULL, "%s: the model has %d inputs (%s); give NAME=FILE for each", path,
                        d->nfeeds, input_names(d, text));
    names_free(&names);
    return ok;
}

/* The feed whose name and '=' the spec begins with; the longest such name wins. -1 if none. */
static int spec_feed(const qonnx_dataset *d, const char *spec)
{
    int best = -1;
    size_t longest = 0;
    for (int k = 0; k < d->nfeeds; k++) {
        size_t n = strlen(d->feeds[k].name);
        if (strncmp(spec, d->feeds[k].name, n) != 0 || spec[n] != '=' || n < longest) continue;
        longest = n;
        best = k;
    }
    return best;
}

/* Specs of the form NAME=PATH, one for every input. */
static bool add_named(qonnx_ctx *cx, qonnx_dataset *d, const char *const *specs, int nspecs)
{
    char text[256];
    for (int i = 0; i < nspecs; i++) {
        int k = spec_feed(d, specs[i]);
        if (k < 0)
            return qonnx_fail(cx, NULL,
                              "data '%s': does not name an input of the model; give "
                              "NAME=PATH for each of: %s",
                              specs[i], input_names(d, text));
        if (d->listings[k].root)
            return qonnx_fail(cx, NULL, "data '%s': the input '%s' has its samples already",
                              specs[i], d->feeds[k].name);
        if (!listing_read(cx, specs[i] + strlen(d->feeds[k].name) + 1, &d->listings[k]))
            return false;
    }
    for (int k = 0; k < d->nfeeds; k++)
        if (!d->listings[k].root)
            return qonnx_fail(cx, NULL, "the model's input '%s' has no samples; give %s=PATH",
                              d->feeds[k].name, d->feeds[k].name);
    return dataset_join(cx, d);
}

bool dataset_find(qonnx_ctx *cx, qonnx_dataset *d, const char *const *specs, int nspecs)
{
    if (nspecs < 1) return qonnx_fail(cx, NULL, "no samples are given");
    if (!d->nfeeds) return qonnx_fail(cx, NULL, "%s: the model has no inputs to feed", specs[0]);
    if (nspecs > 1 || spec_feed(d, specs[0]) >= 0) return add_named(cx, d, specs, nspecs);
    return add_path(cx, d, specs[0]);
}
