/* ops/string_case.c - see string_case.h. */
#include "ops/string_case.h"
#include "ops/regex.h"

/* Pairs of letters: upper ones from lo to hi, `step` apart, and the lower ones `shift` behind. */
typedef struct Letters {
    uint16_t lo, hi;
    int16_t shift, step;
} Letters;

static const Letters letters[] = {
    {'A', 'Z', 32, 1},         {0xc0, 0xd6, 32, 1},   {0xd8, 0xde, 32, 1},   {0x100, 0x12e, 1, 2},
    {0x132, 0x136, 1, 2},      {0x139, 0x147, 1, 2},  {0x14a, 0x176, 1, 2},
    {0x178, 0x178, -121, 1},   {0x179, 0x17d, 1, 2},  {0x386, 0x386, 38, 1}, {0x388, 0x38a, 37, 1},
    {0x38c, 0x38c, 64, 1},
    {0x38e, 0x38f, 63, 1},     {0x391, 0x3a1, 32, 1}, {0x3a3, 0x3ab, 32, 1}, {0x400, 0x40f, 80, 1},
    {0x410, 0x42f, 32, 1},     {0x460, 0x480, 1, 2},  {0x48a, 0x4be, 1, 2},  {0x4c0, 0x4c0, 15, 1},
    {0x4c1, 0x4cd, 1, 2},      {0x4d0, 0x52e, 1, 2},
};

/* What has no other case, though letters around it have. */
static const uint16_t alone[] = {0xaa, 0xba, 0xd7, 0xf7, 0x138, 0x149, 0x390, 0x3b0};

/* Characters from lo to hi have no case. */
static const struct {
    uint32_t lo, hi;
} caseless[] = {
    {0, '@'},           {'[', '`'},         {'{', 0xa9},        {0xab, 0xb4},     {0xb6, 0xb9},
    {0xbb, 0xbf},       {0x300, 0x344},     {0x346, 0x36f},     {0x37e, 0x37e},   {0x384, 0x385},
    {0x387, 0x387},     {0x482, 0x489},     {0x590, 0x109f},    {0x1100, 0x139f}, {0x2000, 0x20ff},
    {0x2190, 0x245f},   {0x2500, 0x2bff},   {0x2e80, 0xa63f},   {0xac00, 0xd7ff}, {0xe000, 0xfaff},
    {0xfe00, 0xff0f},   {0x1f000, 0x3ffff}, {0xe0000, 0x10ffff},
};

/* The character in that case; false: nothing is known of it. */
static bool change(Case to, uint32_t *c)
{
    if (*c == 0x130 || *c == 0x131) return *c = to == CASE_LOWER ? (*c == 0x130 ? 'i' : *c)
                                                 : *c == 0x131  ? 'I'
                                                                : *c,
                                           true;
    if (*c == 0x17f || *c == 0xb5 || *c == 0x3c2) {
        if (to == CASE_UPPER) *c = *c == 0x17f ? 'S' : *c == 0xb5 ? 0x39c : 0x3a3;
        return true;
    }
    if (*c == 0xdf) return true;
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        const Letters *l = &letters[i];
        int32_t up = (int32_t)*c, down = up - l->shift;
        if (up >= l->lo && up <= l->hi && (up - l->lo) % l->step == 0) {
            if (to == CASE_LOWER) *c = (uint32_t)(up + l->shift);
            return true;
        }
        if (down >= l->lo && down <= l->hi && (down - l->lo) % l->step == 0) {
            if (to == CASE_UPPER) *c = (uint32_t)down;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++)
        if (*c == alone[i]) return true;
    for (size_t i = 0; i < sizeof caseless / sizeof *caseless; i++)
        if (*c >= caseless[i].lo && *c <= caseless[i].hi) return true;
    return false;
}

static char *put(char *to, uint32_t c)
{
    if (c < 0x80) return *to++ = (char)c, to;
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    *to++ = (char)((0xff00 >> (more + 1) & 0xff) | c >> 6 * more);
    while (more--) *to++ = (char)(0x80 | (c >> 6 * more & 0x3f));
    return to;
}

bool case_change(Why *why, Case c, const char *text, size_t bytes, char *to, size_t *written)
{
    const char *end = text + bytes;
    char *begin = to;
    while (text < end) {
        uint32_t x;
        if (!utf8_read(&text, end, &x)) return why_not(why, "it is no UTF-8");
        if (!change(c, &x))
            return why_not(why, "whether the character U+%04X has another case is not known here",
                           x);
        to = put(to, x);
    }
    *written = (size_t)(to - begin);
    return true;
}
