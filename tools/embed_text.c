/* tools/embed_text.c - writes files of text, styles and scripts of the pages, as C (cli/page.h),
 * each with the hash by which a page's policy allows it: embed_text OUT.c FILE...
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *which)
{
    fprintf(stderr, "embed_text: %s: %s\n", which, what);
    exit(1);
}

static char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) die("cannot be read", path);
    *size = (size_t)ftell(f);
    rewind(f);
    char *text = calloc(*size + 1, 1);
    if (!text || fread(text, 1, *size, f) != *size) die("cannot be read", path);
    fclose(f);
    return text;
}

/* ---- SHA-256 (FIPS 180-4) -------------------------------------------------------------------- */

static uint32_t turned(uint32_t x, int by) { return x >> by | x << (32 - by); }

/* The first 32 bits of the fraction of a root: a double has them all, of roots this small. */
static uint32_t fraction(double root) { return (uint32_t)ldexp(root - floor(root), 32); }

typedef struct Constants {
    uint32_t start[8], round[64];
} Constants;

/* They are of the roots of the first primes. */
static Constants constants(void)
{
    Constants c;
    int count = 0;
    for (unsigned n = 2; count < 64; n++) {
        unsigned by = 2;
        while (n % by) by++;
        if (by < n) continue;
        if (count < 8) c.start[count] = fraction(sqrt(n));
        c.round[count++] = fraction(cbrt(n));
    }
    return c;
}

static void add_block(const Constants *c, uint32_t state[8], const unsigned char *block)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] +
               (turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        const uint32_t big = turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25);
        const uint32_t one = s[7] + big + ((s[4] & s[5]) ^ (~s[4] & s[6])) + c->round[i] + w[i];
        const uint32_t small = turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22);
        const uint32_t two = small + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

static void hash(const char *text, size_t size, unsigned char out[32])
{
    const Constants c = constants();
    uint32_t state[8];
    memcpy(state, c.start, sizeof state);
    const size_t blocks = (size + 9 + 63) / 64;
    unsigned char *padded = calloc(blocks, 64);
    if (!padded) die("out of memory", "hash");
    memcpy(padded, text, size);
    padded[size] = 0x80;
    for (int i = 0; i < 8; i++)
        padded[blocks * 64 - 1 - (size_t)i] = (unsigned char)((uint64_t)size * 8 >> 8 * i);
    for (size_t i = 0; i < blocks; i++) add_block(&c, state, padded + 64 * i);
    for (int i = 0; i < 32; i++) out[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
    free(padded);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void print_base64(FILE *out, const unsigned char hashed[32])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 43; i++) { /* 256 bits in digits of 6 */
        const int at = 6 * i / 8, shift = 10 - 6 * i % 8;
        const unsigned two = (unsigned)hashed[at] << 8 | (at < 31 ? hashed[at + 1] : 0);
        putc(digits[two >> shift & 63], out);
    }
    putc('=', out);
}

/* "cli/report/report.css" is report_css. */
static void print_name(FILE *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    for (const char *p = slash ? slash + 1 : path; *p; p++) putc(*p == '.' ? '_' : *p, out);
}

static void print_text(FILE *out, const char *path)
{
    size_t size;
    unsigned char hashed[32];
    char *text = read_file(path, &size);
    hash(text, size, hashed);
    fprintf(out, "\nstatic const char text_");
    print_name(out, path);
    fprintf(out, "[] = {");
    for (size_t i = 0; i <= size; i++)
        fprintf(out, "%s%d,", i % 24 ? "" : "\n", (unsigned char)text[i]);
    fprintf(out, "\n};\nconst PageText ");
    print_name(out, path);
    fprintf(out, " = {text_");
    print_name(out, path);
    fprintf(out, ", \"sha256-");
    print_base64(out, hashed);
    fprintf(out, "\"};\n");
    free(text);
}

int main(int argc, char **argv)
{
    if (argc < 3) die("want OUT.c FILE...", "usage");
    FILE *out = fopen(argv[1], "w");
    if (!out) die("cannot be written", argv[1]);
    fprintf(out, "/* written by tools/embed_text.c */\n#include \"cli/page.h\"\n");
    for (int i = 2; i < argc; i++) print_text(out, argv[i]);
    if (fclose(out)) die("cannot be written", argv[1]);
    return 0;
}
