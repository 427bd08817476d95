/* frontend/data/skipped.c - files that are not read: counted by their endings, and told once. */
#include "frontend/data/data.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KINDS = sizeof((Skipped){0}).kinds / sizeof *((Skipped){0}).kinds };

/* Whether a file that is not read looks as if it held samples. */
static bool looks_like_data(const char *file)
{
    static const char *const endings[] = {
        ".gif", ".tif", ".tiff", ".avif", ".heic", ".jfif", ".jp2", ".pt",  ".pth",
        ".mat", ".h5",  ".csv",  ".wav",  ".raw",   ".tar", ".zip", ".parquet"};
    const char *dot = strrchr(file, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot, endings[i])) return true;
    return false;
}

void skip_file(Skipped *s, const char *name)
{
    char ending[sizeof s->kinds->ending] = "";
    const char *slash = strrchr(name, '/'), *dot = strrchr(slash ? slash : name, '.');
    if (dot && strlen(dot) < sizeof ending)
        for (size_t i = 0; dot[i]; i++) ending[i] = (char)tolower((unsigned char)dot[i]);
    int k = 0;
    while (k < s->nkinds && strcmp(s->kinds[k].ending, ending) != 0) k++;
    if (k == KINDS) {
        k--; /* the last row is for all that is left */
        s->kinds[k].ending[0] = 0;
    }
    if (k == s->nkinds) memcpy(s->kinds[s->nkinds++].ending, ending, sizeof ending);
    s->kinds[k].count++;
    if (!s->data && looks_like_data(name)) s->data = string_copy(name);
}

/* "3 .txt, 1 .md". */
static void print_kinds(const Skipped *s, char *text, size_t room)
{
    size_t at = 0;
    text[0] = 0;
    for (int k = 0; k < s->nkinds && at < room; k++) {
        const char *ending = s->kinds[k].ending;
        int n = snprintf(text + at, room - at, "%s%zu %s", k ? ", " : "", s->kinds[k].count,
                         *ending ? ending : s->kinds[k].count == 1 ? "other" : "others");
        at += n > 0 ? (size_t)n : room;
    }
}

void skipped_tell(qonnx_ctx *cx, const char *root, Skipped *s)
{
    char text[KINDS * 40], endings[ENDINGS_TEXT];
    print_kinds(s, text, sizeof text);
    if (s->data)
        qonnx_warn(cx, NULL,
                   "%s: skipped %s: files of other forms than %s (the first that may be a sample: "
                   "'%s')",
                   root, text, form_endings(endings), s->data);
    else if (s->nkinds) qonnx_note(cx, NULL, "%s: skipped %s", root, text);
    free(s->data);
    *s = (Skipped){0};
}
