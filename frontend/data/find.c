/* frontend/data/find.c - which files a data set's specs mean: paths, each in one of several forms,
 * or NAME=PATH for every input. A directory is tried as, in this order: samples in the form of
 * ONNX's backend tests; a folder of files for every input; a folder for every sample, with a file
 * for every input; and files, or folders of them that are classes.
 */
#include "frontend/data/data.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Notes the path among the roots of every input. */
static void add_root(qonnx_dataset *d, const char *path)
{
    for (int k = 0; k < d->nfeeds; k++) listing_root(d->listings[k], path);
    listing_folder(d->listings[0], path);
}

/* ---- the form of ONNX's backend tests -------------------------------------------------------- */

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
        const char *dot = strrchr(file, '.');
        if (!form_of(file) || (own && !strcmp(dot, ".pb"))) continue;
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
        char *name = path_join(sub, file);
        listing_add(d->listings[k], root, name, -1)->by_place = true;
        free(name);
    }
    warn_beside(cx, root, sub, n);
    return true;
}

/* Whether root/sub/input_0.pb is there. */
static bool has_test_input(const char *root, const char *sub)
{
    char *folder = path_join(root, sub), *path = path_join(folder, "input_0.pb");
    bool there = !access(path, F_OK);
    free(folder);
    free(path);
    return there;
}

/* Reads the folder `sub` of `root`. */
static bool read_folder(qonnx_ctx *cx, const char *root, const char *sub, Names *out)
{
    bool is_file;
    char *path = path_join(root, sub);
    bool ok = names_read(cx, path, &is_file, out);
    free(path);
    return ok;
}

/* Adds every folder of the root that is one sample in the tests' form; other folders stay out. */
static bool add_test_folders(qonnx_ctx *cx, qonnx_dataset *d, const char *root, const Names *n)
{
    bool ok = true;
    size_t left = 0, taken = 0;
    const char *first = NULL;
    for (size_t i = 0; ok && i < n->nfolders; i++) {
        Names sub = {0};
        bool test = has_test_input(root, n->folders[i]);
        if (test) ok = read_folder(cx, root, n->folders[i], &sub);
        if (ok && test && is_test_form(d, &sub)) {
            ok = add_test_form(cx, d, root, n->folders[i], &sub);
            taken++;
        } else if (!left++) {
            first = n->folders[i];
        }
        names_free(&sub);
    }
    if (ok && taken) warn_unused(cx, root, left, first, "sample with an input_0.pb");
    return ok;
}

/* ---- a folder of files for every input ------------------------------------------------------- */

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
        ok = listing_read(cx, path, d->listings[k]);
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
    return ok;
}

/* ---- a folder for every sample --------------------------------------------------------------- */

/* The file of feed k: "NAME.npy", or "input_K.npy", with any ending that is read; NULL: there is
 * none. */
static const char *feed_file(const qonnx_dataset *d, int k, bool by_name, const Names *n)
{
    char number[32];
    snprintf(number, sizeof number, "input_%d", k);
    const char *wanted = by_name ? d->feeds[k].name : number;
    size_t length = strlen(wanted);
    for (size_t i = 0; i < n->nfiles; i++) {
        const char *file = n->files[i], *dot = strrchr(file, '.');
        if (form_of(file) && (size_t)(dot - file) == length && !memcmp(file, wanted, length))
            return file;
    }
    return NULL;
}

/* Whether the files of samples in a folder are one for each input. */
static bool is_sample_folder(const qonnx_dataset *d, bool by_name, const Names *n)
{
    int files = 0;
    for (size_t i = 0; i < n->nfiles && files <= d->nfeeds; i++) files += !!form_of(n->files[i]);
    for (int k = 0; k < d->nfeeds; k++)
        if (!feed_file(d, k, by_name, n)) return false;
    return files == d->nfeeds;
}

/* Adds the sample in the folder `sub` of `root` ("": the root itself). */
static bool add_sample_folder(qonnx_ctx *cx, qonnx_dataset *d, const char *root, const char *sub,
                              bool by_name, const Names *n)
{
    for (int k = 0; k < d->nfeeds; k++) {
        const char *file = feed_file(d, k, by_name, n);
        if (!file)
            return qonnx_fail(cx, NULL,
                              "%s/%s: has no file for the model's input '%s', as the other folders "
                              "have",
                              root, sub, d->feeds[k].name);
        char *name = path_join(sub, file);
        listing_add(d->listings[k], root, name, -1)->by_place = true;
        free(name);
    }
    return true;
}

/* Adds the folders of the root where the first is a sample; *taken: it is. */
static bool add_sample_folders(qonnx_ctx *cx, qonnx_dataset *d, const char *root, bool by_name,
                               const Names *n, bool *taken)
{
    bool ok = true;
    *taken = false;
    for (size_t i = 0; ok && i < n->nfolders && (!i || *taken); i++) {
        Names sub;
        ok = read_folder(cx, root, n->folders[i], &sub);
        if (ok && !i) *taken = is_sample_folder(d, by_name, &sub);
        if (ok && *taken) ok = add_sample_folder(cx, d, root, n->folders[i], by_name, &sub);
        names_free(&sub);
    }
    return ok;
}

/* ---- any path -------------------------------------------------------------------------------- */

/* Adds a folder that holds all inputs' samples in a form of its own; *taken: it does. */
static bool add_joined(qonnx_ctx *cx, qonnx_dataset *d, const char *path, const Names *n,
                       bool *taken)
{
    bool flat = false;
    size_t before = d->listings[0]->nfiles;
    *taken = true;
    for (size_t i = 0; i < n->nfiles; i++) flat |= form_of(n->files[i]) != NULL;
    if (is_test_form(d, n)) return add_test_form(cx, d, path, "", n);
    for (int named = 1; d->nfeeds > 1 && named >= 0; named--)
        if (is_sample_folder(d, named, n)) return add_sample_folder(cx, d, path, "", named, n);
    *taken = false;
    if (flat) return true;
    if (!add_test_folders(cx, d, path, n)) return false;
    *taken = d->listings[0]->nfiles > before;
    for (int named = 1; !*taken && named >= 0; named--) {
        *taken = has_feed_folders(d, named, n);
        if (*taken) return add_feed_folders(cx, d, path, named, n);
    }
    for (int named = 1; !*taken && named >= 0; named--)
        if (!add_sample_folders(cx, d, path, named, n, taken)) return false;
    return true;
}

/* Fails because the path does not say which input's the samples are. */
static bool fail_inputs(qonnx_ctx *cx, const qonnx_dataset *d, const char *path, bool is_file)
{
    char text[256];
    return qonnx_fail(cx, NULL, "%s: the model has %d inputs (%s); give NAME=%s for each%s", path,
                      d->nfeeds, input_names(d, text), is_file ? "FILE" : "PATH",
                      is_file ? "" : ", or a directory with a folder of that name for each");
}

/* Adds a path of files that hold the samples of all inputs, or lists such. */
static bool add_keyed(qonnx_ctx *cx, qonnx_dataset *d, const char *path)
{
    for (int k = 0; k < d->nfeeds; k++) {
        size_t first = d->listings[k]->nfiles;
        if (!listing_read(cx, path, d->listings[k])) return false;
        for (size_t i = first; i < d->listings[k]->nfiles; i++) {
            const Form *form = form_of(d->listings[k]->files[i].path);
            if (d->nfeeds > 1 && (!form || !form->keyed))
                return fail_inputs(cx, d, d->listings[k]->files[i].path, true);
        }
    }
    return true;
}

/* Whether some of the files hold the samples of all inputs. */
static bool has_keyed(const Names *n)
{
    for (size_t i = 0; i < n->nfiles; i++)
        if (form_of(n->files[i]) && form_of(n->files[i])->keyed) return true;
    return false;
}

/* A directory of samples, for all inputs. */
static bool add_directory(qonnx_ctx *cx, qonnx_dataset *d, const char *path, const Names *n)
{
    bool taken;
    if (!d->labels && has_name(n->files, n->nfiles, "labels.txt"))
        d->labels = path_join(path, "labels.txt");
    if (!add_joined(cx, d, path, n, &taken)) return false;
    if (taken) return add_root(d, path), true;
    if (d->nfeeds == 1) return listing_walk(cx, path, n, d->listings[0]);
    if (has_keyed(n)) return add_keyed(cx, d, path);
    return fail_inputs(cx, d, path, false);
}

/* Adds a path, one of several if `skipped` is not NULL: files of forms that are not read go there
 * then. */
static bool add_path(qonnx_ctx *cx, qonnx_dataset *d, const char *path, Skipped *skipped)
{
    Names names;
    bool is_file;
    if (*path == '@') return add_keyed(cx, d, path);
    if (!names_read(cx, path, &is_file, &names)) return false;
    bool ok = true;
    if (!is_file) ok = add_directory(cx, d, path, &names);
    else if (skipped && !form_of(path)) skip_file(skipped, path);
    else ok = add_keyed(cx, d, path);
    names_free(&names);
    return ok;
}

/* Adds one path or more. */
static bool add_paths(qonnx_ctx *cx, qonnx_dataset *d, const char *const *specs, int nspecs)
{
    Skipped skipped = {0};
    char endings[ENDINGS_TEXT];
    bool ok = true;
    for (int i = 0; ok && i < nspecs; i++)
        ok = add_path(cx, d, specs[i], nspecs > 1 ? &skipped : NULL);
    if (ok && !d->listings[0]->nfiles)
        ok = qonnx_fail(cx, NULL, "%s: no sample file, nor is one of the %d behind it; %s are read",
                        specs[0], nspecs - 1, form_endings(endings));
    if (ok) skipped_tell(cx, "samples", &skipped);
    free(skipped.data);
    return ok;
}

/* ---- NAME=PATH ------------------------------------------------------------------------------- */

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
        if (d->listings[k]->root)
            return qonnx_fail(cx, NULL, "data '%s': the input '%s' has its samples already",
                              specs[i], d->feeds[k].name);
        if (!listing_read(cx, specs[i] + strlen(d->feeds[k].name) + 1, d->listings[k]))
            return false;
    }
    for (int k = 0; k < d->nfeeds; k++)
        if (!d->listings[k]->root)
            return qonnx_fail(cx, NULL, "the model's input '%s' has no samples; give %s=PATH",
                              d->feeds[k].name, d->feeds[k].name);
    return true;
}

bool dataset_find(qonnx_ctx *cx, qonnx_dataset *d, const char *const *specs, int nspecs)
{
    bool named = false;
    if (nspecs < 1) return qonnx_fail(cx, NULL, "no samples are given");
    if (!d->nfeeds) return qonnx_fail(cx, NULL, "%s: the model has no inputs to feed", specs[0]);
    for (int i = 0; i < nspecs; i++) named |= spec_feed(d, specs[i]) >= 0;
    if (!(named ? add_named : add_paths)(cx, d, specs, nspecs)) return false;
    for (int k = 0; k < d->nfeeds; k++) listing_finish(cx, d->listings[k]);
    return dataset_join(cx, d);
}
