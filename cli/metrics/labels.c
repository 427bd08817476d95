/* cli/metrics/labels.c - see labels.h. */
#include "labels.h"
#include "cli/progress.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A file of labels being read. */
typedef struct Reading {
    qonnx_ctx *cx;          /* for messages */
    const qonnx_dataset *d; /* the samples */
    const char *path;       /* as it was given */
    qonnx_names *names;     /* of the samples */
    Labels *l;              /* gets them */
    size_t lines, strays;   /* lines, or files; and those that name no sample */
    size_t matched;         /* those that name some, left out by a limit or not */
    char stray[200];        /* the first of them */
} Reading;

static void take_stray(Reading *r, const char *name)
{
    if (!r->strays++) snprintf(r->stray, sizeof r->stray, "%s", name);
}

/* The sample of that name. False after a message, where it may be several. *found: there is one. */
static bool find_sample(Reading *r, const char *name, size_t *sample, bool *found)
{
    qonnx_named named = qonnx_names_find(r->names, name, sample);
    *found = named == QONNX_NAMED_ONE;
    if (named == QONNX_NAMED_SEVERAL)
        return qonnx_fail(r->cx, NULL,
                          "%s: '%.99s' may be several samples; name each of them with its ending, "
                          "and where a file holds several, give one .npy of all labels",
                          r->path, name);
    if (named == QONNX_NAMED_NONE) take_stray(r, name);
    else r->matched++;
    return true;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* Gives a sample its array. */
static bool give_file(Reading *r, size_t sample, const char *file)
{
    if (r->l->files[sample])
        return qonnx_fail(r->cx, NULL, "%s: '%s' has two labels, '%.200s' and '%.200s'", r->path,
                          qonnx_dataset_name(r->d, sample), r->l->files[sample], file);
    r->l->files[sample] = needed(strdup(file));
    return true;
}

static bool has_ending(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && !strcasecmp(name + n - m, ending);
}

static bool is_array(const char *name)
{
    return has_ending(name, ".npy") || has_ending(name, ".png");
}

static bool read_folder(Reading *r, const char *below, int depth);

/* What stands in a folder of labels: "cats/1.png". */
static bool take_entry(Reading *r, const char *name, int depth)
{
    char path[PATH_MAX];
    struct stat st;
    size_t sample;
    bool found;
    if (snprintf(path, sizeof path, "%s/%s", r->path, name) >= (int)sizeof path || stat(path, &st))
        return true;
    if (S_ISDIR(st.st_mode)) return depth > 32 || read_folder(r, name, depth + 1);
    if (!is_array(name)) return true;
    r->lines++;
    return find_sample(r, name, &sample, &found) && (!found || give_file(r, sample, path));
}

static bool read_folder(Reading *r, const char *below, int depth)
{
    char path[PATH_MAX];
    struct dirent **entries;
    snprintf(path, sizeof path, "%s%s%s", r->path, *below ? "/" : "", below);
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) return qonnx_fail(r->cx, NULL, "%s: cannot be read: %s", path, strerror(errno));
    bool good = true;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        snprintf(path, sizeof path, "%s%s%s", below, *below ? "/" : "", name);
        if (good && *name != '.') good = take_entry(r, path, depth);
        free(entries[i]);
    }
    free(entries);
    return good;
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Cuts the last word off a line. NULL: there is but one. */
static char *cut_word(char *line)
{
    static const char blanks[] = " \t\r\n";
    size_t n = strlen(line);
    while (n && strchr(blanks, line[n - 1])) line[--n] = 0;
    while (n && !strchr(blanks, line[n - 1])) n--;
    if (!n) return NULL;
    char *word = line + n;
    while (n && strchr(blanks, line[n - 1])) line[--n] = 0;
    return n ? word : NULL;
}

static bool odd_line(Reading *r, const char *line, const char *want)
{
    return qonnx_fail(r->cx, NULL, "%s: line %zu is '%.80s', want %s", r->path, r->lines, line,
                      want);
}

/* "FILE ARRAY"; ARRAY is relative to the file of labels. */
static bool take_array_line(Reading *r, char *line)
{
    char path[PATH_MAX], whole[200];
    snprintf(whole, sizeof whole, "%.*s", (int)strcspn(line, "\r\n"), line);
    char *array = cut_word(line);
    const char *slash = strrchr(r->path, '/');
    size_t sample;
    bool found;
    if (!array || !is_array(array))
        return odd_line(r, whole,
                        "'FILE LABEL.npy' or 'FILE LABEL.png'; or give a folder of "
                        "labels, or one .npy of all");
    snprintf(path, sizeof path, "%.*s%s", slash && *array != '/' ? (int)(slash + 1 - r->path) : 0,
             r->path, array);
    return find_sample(r, line, &sample, &found) && (!found || give_file(r, sample, path));
}

static bool add_pair(Reading *r, size_t a, size_t b, double score)
{
    Labels *l = r->l;
    if (l->npairs == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->pairs = needed(reallocarray(l->pairs, l->room, sizeof *l->pairs));
    }
    l->pairs[l->npairs++] = (Pair){a < b ? a : b, a < b ? b : a, score};
    return true;
}

/* "FILE FILE SCORE", or "NAME SCORE" of NAMEa and NAMEb. */
static bool take_pair_line(Reading *r, char *line)
{
    static const char want[] = "'FILE FILE SCORE' or 'NAME SCORE', of the samples NAMEa and NAMEb, "
                               "with a number for the score";
    char whole[200], first[PATH_MAX], second[PATH_MAX], *end;
    snprintf(whole, sizeof whole, "%.*s", (int)strcspn(line, "\r\n"), line);
    char *word = cut_word(line);
    double score = word ? strtod(word, &end) : NAN;
    if (!word || *end || end == word || !isfinite(score)) return odd_line(r, whole, want);
    char *other = cut_word(line);
    snprintf(first, sizeof first, "%s%s", line, other ? "" : "a");
    snprintf(second, sizeof second, "%s%s", other ? other : line, other ? "" : "b");
    size_t a, b, strays = r->strays;
    bool has_a, has_b;
    if (!find_sample(r, first, &a, &has_a) || !find_sample(r, second, &b, &has_b)) return false;
    if (r->strays > strays) r->strays = strays + 1; /* lines are counted */
    return !has_a || !has_b || add_pair(r, a, b, score);
}

static bool read_text(Reading *r, LabelKind kind)
{
    FILE *f = fopen(r->path, "re");
    char *line = NULL;
    size_t room = 0;
    bool good = true;
    if (!f) return qonnx_fail(r->cx, NULL, "%s: cannot be read: %s", r->path, strerror(errno));
    for (ssize_t n; good && (n = getline(&line, &room, f)) >= 0;) {
        r->lines++;
        if (strlen(line) != (size_t)n)
            good = qonnx_fail(r->cx, NULL, "%s: line %zu holds a byte of 0; want text", r->path,
                              r->lines);
        else if (line[strspn(line, " \t\r\n")] && *line != '#')
            good = kind == LABEL_PAIRS ? take_pair_line(r, line) : take_array_line(r, line);
    }
    if (good && ferror(f))
        good = qonnx_fail(r->cx, NULL, "%s: cannot be read: %s", r->path, strerror(errno));
    free(line);
    fclose(f);
    return good;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* One array of all labels. */
static bool read_whole(Reading *r)
{
    qonnx_tensor *t = &r->l->whole;
    size_t all = qonnx_dataset_all(r->d);
    if (!qonnx_tensor_load(r->cx, r->path, QONNX_UNDEFINED, t)) return false;
    if (t->rank && (uint64_t)t->dims[0] == all) return true;
    return qonnx_fail(r->cx, NULL,
                      "%s: holds %lld labels along its first axis, and there are %zu samples",
                      r->path, t->rank ? (long long)t->dims[0] : 1LL, all);
}

/* Says which labels and samples were left without the other. */
static bool check_fit(const Reading *r, LabelKind kind)
{
    size_t without = 0, none = SIZE_MAX;
    for (size_t i = 0; i < r->l->samples; i++)
        if (!r->l->files[i] && !without++) none = i;
    if (!r->matched)
        return qonnx_fail(r->cx, NULL, "%s: names none of the samples; they are called as '%s'",
                          r->path, qonnx_dataset_count(r->d) ? qonnx_dataset_name(r->d, 0) : "");
    if (r->strays)
        qonnx_warn(r->cx, NULL, "%s: %zu of %zu labels name no sample; the first is '%s'", r->path,
                   r->strays, r->lines, r->stray);
    if (kind == LABEL_ARRAY && without)
        qonnx_warn(r->cx, NULL,
                   "%s: %zu of %zu samples have no label, and are left out; the first "
                   "is '%s'",
                   r->path, without, r->l->samples, qonnx_dataset_name(r->d, none));
    return true;
}

static bool read_labels(Reading *r, LabelKind kind)
{
    struct stat st;
    if (stat(r->path, &st))
        return qonnx_fail(r->cx, NULL, "%s: cannot be read: %s", r->path, strerror(errno));
    bool folder = S_ISDIR(st.st_mode);
    if (folder && kind != LABEL_ARRAY)
        return qonnx_fail(r->cx, NULL,
                          "%s: is a folder; want lines 'FILE FILE SCORE' for pairs of "
                          "samples",
                          r->path);
    if (kind == LABEL_ARRAY && has_ending(r->path, ".npy")) return read_whole(r);
    r->names = qonnx_names_new(r->d);
    if (kind == LABEL_ARRAY) {
        r->l->samples = qonnx_dataset_count(r->d);
        r->l->files = needed(calloc(r->l->samples + 1, sizeof *r->l->files));
    }
    bool good = (folder ? read_folder(r, "", 0) : read_text(r, kind)) && check_fit(r, kind);
    qonnx_names_free(r->names);
    return good;
}

Labels *labels_open(qonnx_ctx *cx, const qonnx_dataset *d, const char *path, LabelKind kind)
{
    Labels *l = needed(calloc(1, sizeof *l));
    Reading r = {.cx = cx, .d = d, .path = path, .l = l};
    if (read_labels(&r, kind)) {
        l->cx = progress_ctx();
        return l;
    }
    labels_free(l);
    return NULL;
}

void labels_free(Labels *l)
{
    if (!l) return;
    for (size_t i = 0; i < l->samples; i++) free(l->files[i]);
    free(l->files);
    qonnx_sample_free(&l->whole, 1);
    qonnx_sample_free(&l->one, 1);
    free(l->pairs);
    qonnx_ctx_free(l->cx);
    free(l);
}

/* The part of all labels that is sample i's. */
static qonnx_tensor part_of(const qonnx_tensor *whole, size_t i)
{
    qonnx_tensor t = {.dtype = whole->dtype, .rank = whole->rank - 1};
    for (int k = 0; k < t.rank; k++) t.dims[k] = whole->dims[k + 1];
    t.bytes = whole->dims[0] ? whole->bytes / (size_t)whole->dims[0] : 0;
    t.data = (const char *)whole->data + i * t.bytes;
    return t;
}

bool labels_array(Labels *l, const qonnx_dataset *d, size_t i, qonnx_tensor *t)
{
    *t = (qonnx_tensor){0};
    if (!l->files) {
        *t = part_of(&l->whole, qonnx_dataset_place(d, i));
        return true;
    }
    const char *file = l->files[i];
    if (!file) return true;
    qonnx_sample_free(&l->one, 1);
    l->one = (qonnx_tensor){0};
    bool good = has_ending(file, ".png") ? png_ids(l->cx, file, &l->one)
                                         : qonnx_tensor_load(l->cx, file, QONNX_UNDEFINED, &l->one);
    if (!good) report_failure(l->cx);
    *t = l->one;
    return good;
}
