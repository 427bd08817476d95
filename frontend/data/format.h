/* frontend/data/format.h - what the decoders of pictures are written on. A new form is a decoder in
 * a file of its own, and a row in picture.c. Decoders give pixels as they are stored; picture.c
 * turns them, composites alpha, and keeps what cannot be decoded row by row.
 */
#ifndef FRONTEND_DATA_FORMAT_H
#define FRONTEND_DATA_FORMAT_H

#include "frontend/data/picture.h"

typedef struct Decoder Decoder;

/* What a file says about its picture, beside its pixels; without bytes: nothing. */
typedef struct Notes {
    FileMap exif; /* a TIFF structure, maybe behind "Exif\0\0" */
    FileMap xmp;  /* XML */
} Notes;

/* A form that pictures are kept in. */
typedef struct Format {
    const char *name;       /* for messages */
    const char *extensions; /* ".jpg .jpeg" */
    const char *magic;      /* how a file begins; '?' stands for any byte */
    size_t nmagic;          /* its length */
    size_t bytes;           /* of the struct that its decoder is: a Decoder, and what is its own */
    /* Reads the header: calls decoder_size, and sets `row` or `whole`. */
    bool (*open)(Decoder *d);
    /* Frees what is the decoder's own, opened or not. NULL: nothing is. */
    void (*close)(Decoder *d);
    /* Finds the file's notes, as far as they can be found. NULL: the form has none. Is given
     * whatever the file holds. */
    void (*notes)(const FileMap *file, Notes *out);
} Format;

extern const Format format_bmp, format_jpeg, format_png, format_pnm, format_webp;

/* A picture that is being decoded. The struct of a form begins with it. */
struct Decoder {
    Rows rows;              /* what is seen from outside */
    qonnx_ctx *cx;          /* takes the message */
    const char *path;       /* for messages */
    const Format *format;   /* of the file */
    const FileMap *file;    /* what is decoded */
    PictureOptions options; /* as they were given */
    size_t width, height;   /* as stored */
    int channels;           /* as decoded: 1 gray, 3 RGB; 2 and 4 with alpha, if it is composited */

    /* One of the two decodes. `row` as Rows.next does; `whole` all rows at once, for forms that
     * cannot do better. */
    bool (*row)(Decoder *d, uint8_t *row);
    bool (*whole)(Decoder *d, uint8_t *pixels);

    /* picture.c's own */
    uint8_t *alpha;         /* a row that is to be composited */
    uint8_t *pixels;        /* the whole picture, as decoded; NULL: not decoded yet, or never */
    int orientation;        /* 1 to 8, as EXIF counts */
    const uint8_t *at;      /* the first pixel of the next row, in `pixels` */
    ptrdiff_t across, down; /* from there to the next pixel, and to the next row, in bytes */
};

/* Fails because the file's contents make no picture: "PATH: damaged FORM: why". */
QONNX_PRINTF(2, 3) bool decoder_damaged(Decoder *d, const char *why, ...);

/* Fails because the file is whole, but of a kind that this program does not know. */
QONNX_PRINTF(2, 3) bool decoder_refuse(Decoder *d, const char *why, ...);

/* Takes the picture's size and channels. One without pixels, or with too many, is refused: to be
 * called before anything is allocated for them. */
QONNX_CHECKED bool decoder_size(Decoder *d, uint64_t width, uint64_t height, int channels);

/* The orientation that notes give, 1 to 8 as EXIF counts; 1 where they are odd in any way. */
int notes_orientation(const Notes *n);

#endif
