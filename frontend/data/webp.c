/* frontend/data/webp.c - WebP files by libwebp: of an animation the first frame on its canvas,
 * which is black where the frame does not reach.
 */
#include "frontend/data/format.h"
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

typedef struct Webp {
    Decoder d;            /* first */
    WebPDemuxer *demuxer; /* the file's chunks */
} Webp;

static bool decode_frame(Decoder *d, const WebPIterator *frame, uint8_t *pixels)
{
    size_t x = (size_t)frame->x_offset, y = (size_t)frame->y_offset;
    size_t width = (size_t)frame->width, height = (size_t)frame->height;
    size_t channels = (size_t)d->channels, stride = d->width * channels;
    if (width + x > d->width || height + y > d->height)
        return decoder_damaged(d, "the first frame is not within the picture");
    if (width < d->width || height < d->height) memset(pixels, 0, stride * d->height);
    WebPDecoderConfig c;
    if (!WebPInitDecoderConfig(&c))
        return qonnx_fail(d->cx, NULL, "%s: libwebp cannot be used here", d->path);
    size_t at = y * stride + x * channels;
    c.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    c.output.is_external_memory = 1;
    c.output.u.RGBA.rgba = pixels + at;
    c.output.u.RGBA.stride = (int)stride;
    c.output.u.RGBA.size = stride * d->height - at;
    VP8StatusCode status = WebPDecode(frame->fragment.bytes, frame->fragment.size, &c);
    if (status == VP8_STATUS_OUT_OF_MEMORY)
        qonnx_out_of_memory(); /* not damaged: it must not be left out of the samples */
    if (status == VP8_STATUS_OK) return true;
    return decoder_damaged(d, status == VP8_STATUS_NOT_ENOUGH_DATA
                                  ? "the file is cut short"
                                  : "the pixels cannot be decoded");
}

static bool read_whole(Decoder *d, uint8_t *pixels)
{
    WebPIterator frame;
    if (!WebPDemuxGetFrame(((Webp *)d)->demuxer, 1, &frame))
        return decoder_damaged(d, "there is no picture in it");
    bool ok = decode_frame(d, &frame, pixels);
    WebPDemuxReleaseIterator(&frame);
    return ok;
}

static bool open_webp(Decoder *d)
{
    Webp *w = (Webp *)d;
    WebPData data = {d->file->data, d->file->bytes};
    WebPDemuxState state;
    w->demuxer = WebPDemuxPartial(&data, &state);
    if (!w->demuxer || state == WEBP_DEMUX_PARSE_ERROR)
        return decoder_damaged(d, "its chunks make no picture");
    if (state != WEBP_DEMUX_DONE) return decoder_damaged(d, "the file is cut short");
    d->whole = read_whole;
    return decoder_size(d, WebPDemuxGetI(w->demuxer, WEBP_FF_CANVAS_WIDTH),
                        WebPDemuxGetI(w->demuxer, WEBP_FF_CANVAS_HEIGHT),
                        d->options.composite ? 4 : 3);
}

static void close_webp(Decoder *d) { WebPDemuxDelete(((Webp *)d)->demuxer); }

/* The chunks EXIF and XMP of a file in the extended form. */
static void find_notes(const FileMap *file, Notes *out)
{
    size_t at = 12;
    if (file->bytes < at + 4 || memcmp(file->data + at, "VP8X", 4) != 0) return;
    while (file->bytes - at >= 8) {
        const uint8_t *p = file->data + at;
        size_t length = p[4] | p[5] << 8 | p[6] << 16 | (size_t)p[7] << 24;
        at += 8;
        if (length > file->bytes - at) return;
        FileMap *to = !memcmp(p, "EXIF", 4) ? &out->exif : !memcmp(p, "XMP ", 4) ? &out->xmp : NULL;
        if (to && !to->bytes) *to = (FileMap){p + 8, length};
        at += length;
        if (length % 2 && at < file->bytes) at++; /* filling */
    }
}

const Format format_webp = {.name = "WebP",
                            .extensions = ".webp",
                            .magic = "RIFF????WEBP",
                            .nmagic = 12,
                            .bytes = sizeof(Webp),
                            .open = open_webp,
                            .close = close_webp,
                            .notes = find_notes};
