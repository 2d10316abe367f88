#pragma once
#include <stddef.h>
#include <stdint.h>

// The little C that Media needs: what longjmps (libjpeg), what keeps state (FFmpeg's log), and callbacks whose
// C types differ between versions of FFmpeg. Functions return 0 or a negative status.

/// Width and height from a JPEG's header; no pixel is decoded. On failure `message` holds the reason.
int cmedia_jpeg_size(
    const uint8_t *data, size_t length, int *width, int *height, char *message, size_t message_capacity);

/// Decodes a whole JPEG into packed RGB8 of exactly width × height × 3 bytes, as libjpeg's defaults do
/// (slow integer transform, triangle chroma upsampling). A file that ends early is a failure.
int cmedia_jpeg_decode(
    const uint8_t *data, size_t length, uint8_t *rgb, size_t capacity, char *message, size_t message_capacity);

/// Encodes packed RGB8 as a JPEG of `quality` 1 to 100 with 4:2:0 chroma. `data` becomes a buffer of `length` bytes
/// that the caller frees with free(); on failure it is null and `message` holds the reason.
int cmedia_jpeg_encode(
    const uint8_t *rgb, int width, int height, int quality, uint8_t **data, size_t *length, char *message,
    size_t message_capacity);

/// Sends FFmpeg's log lines to a per-thread store instead of standard error.
void cmedia_quiet_log(void);

/// Forgets this thread's last error line of FFmpeg.
void cmedia_clear_log(void);

/// This thread's last error line of FFmpeg, without its line end; empty when there was none. Borrowed.
const char *cmedia_last_log(void);

/// An open file that FFmpeg writes to, and the first errno that writing to it gave.
typedef struct {
  int descriptor;
  int error;
} CMediaFile;

/// New AVIOContext over `file`, which must outlive it; null when out of memory.
void *cmedia_io_new(CMediaFile *file);

/// Frees what cmedia_io_new gave, without flushing.
void cmedia_io_free(void *io);
