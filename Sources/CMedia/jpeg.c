#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "CMedia.h"

// Progressive files may name any number of scans; each costs a pass over the whole picture.
enum { maximum_scans = 500 };

typedef struct {
  struct jpeg_error_mgr manager;
  jmp_buf escape;
  char *message;
  size_t capacity;
} Failure;

static void fail(j_common_ptr info) {
  Failure *failure = (Failure *)info->err;
  char text[JMSG_LENGTH_MAX];
  failure->manager.format_message(info, text);
  snprintf(failure->message, failure->capacity, "%s", text);
  longjmp(failure->escape, 1);
}

static void warn(j_common_ptr info, int level) {
  if (level >= 0) return;
  Failure *failure = (Failure *)info->err;
  if (failure->manager.msg_code == JWRN_JPEG_EOF || failure->manager.msg_code == JWRN_HIT_MARKER) {
    snprintf(failure->message, failure->capacity, "it is truncated");
    longjmp(failure->escape, 1);
  }
}

static void silent(j_common_ptr info) { (void)info; }

static void limit_scans(j_common_ptr info) {
  if (info->is_decompressor && ((j_decompress_ptr)info)->input_scan_number > maximum_scans) {
    Failure *failure = (Failure *)info->err;
    snprintf(failure->message, failure->capacity, "it has more than %d scans", maximum_scans);
    longjmp(failure->escape, 1);
  }
}

static void begin(struct jpeg_decompress_struct *info, Failure *failure, char *message, size_t capacity) {
  memset(info, 0, sizeof *info);
  memset(failure, 0, sizeof *failure);
  message[0] = 0;
  info->err = jpeg_std_error(&failure->manager);
  failure->manager.error_exit = fail;
  failure->manager.emit_message = warn;
  failure->manager.output_message = silent;
  failure->message = message;
  failure->capacity = capacity;
}

int cmedia_jpeg_size(
    const uint8_t *data, size_t length, int *width, int *height, char *message, size_t message_capacity) {
  struct jpeg_decompress_struct info;
  Failure failure;
  begin(&info, &failure, message, message_capacity);
  if (setjmp(failure.escape)) {
    jpeg_destroy_decompress(&info);
    return -1;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, (unsigned char *)data, (unsigned long)length);
  jpeg_read_header(&info, TRUE);
  *width = (int)info.image_width;
  *height = (int)info.image_height;
  jpeg_destroy_decompress(&info);
  return 0;
}

static inline uint8_t multiply(uint8_t a, uint8_t b) {
  unsigned product = (unsigned)a * b + 128;
  return (uint8_t)(((product >> 8) + product) >> 8);
}

// Four-colour JPEGs store inverted inks (Adobe's habit): what is stored is what remains of the light.
static void inks_to_rgb(const uint8_t *inks, uint8_t *rgb, unsigned width) {
  for (unsigned x = 0; x < width; x++, inks += 4, rgb += 3)
    for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(inks[3] - multiply((uint8_t)(255 - inks[c]), inks[3]));
}

int cmedia_jpeg_decode(
    const uint8_t *data, size_t length, uint8_t *rgb, size_t capacity, char *message, size_t message_capacity) {
  struct jpeg_decompress_struct info;
  struct jpeg_progress_mgr progress;
  Failure failure;
  begin(&info, &failure, message, message_capacity);
  if (setjmp(failure.escape)) {
    jpeg_destroy_decompress(&info);
    return -1;
  }
  jpeg_create_decompress(&info);
  memset(&progress, 0, sizeof progress);
  progress.progress_monitor = limit_scans;
  info.progress = &progress;
  jpeg_mem_src(&info, (unsigned char *)data, (unsigned long)length);
  jpeg_read_header(&info, TRUE);
  int inks = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  info.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info);
  size_t stride = (size_t)info.output_width * 3;
  if (stride * info.output_height != capacity) {
    snprintf(message, message_capacity, "its size changed while it was read");
    jpeg_destroy_decompress(&info);
    return -1;
  }
  JSAMPARRAY row =
      info.mem->alloc_sarray((j_common_ptr)&info, JPOOL_IMAGE, info.output_width * (unsigned)info.output_components, 1);
  while (info.output_scanline < info.output_height) {
    uint8_t *target = rgb + stride * info.output_scanline;
    jpeg_read_scanlines(&info, row, 1);
    if (inks)
      inks_to_rgb(row[0], target, info.output_width);
    else
      memcpy(target, row[0], stride);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return 0;
}

int cmedia_jpeg_encode(
    const uint8_t *rgb, int width, int height, int quality, uint8_t **data, size_t *length, char *message,
    size_t message_capacity) {
  struct jpeg_compress_struct info;
  Failure failure;
  // What setjmp returns to must not live in registers.
  unsigned char *volatile result = NULL;
  unsigned char *buffer = NULL;
  unsigned long size = 0;
  *data = NULL;
  *length = 0;
  memset(&info, 0, sizeof info);
  memset(&failure, 0, sizeof failure);
  message[0] = 0;
  info.err = jpeg_std_error(&failure.manager);
  failure.manager.error_exit = fail;
  failure.manager.output_message = silent;
  failure.message = message;
  failure.capacity = message_capacity;
  if (setjmp(failure.escape)) {
    jpeg_destroy_compress(&info);
    free(result);
    return -1;
  }
  jpeg_create_compress(&info);
  // The buffer is ours, and large enough for any picture at any quality: libjpeg need not grow it.
  size = (unsigned long)width * (unsigned long)height * 6 + 4096;
  result = buffer = malloc(size);
  if (!buffer) {
    snprintf(message, message_capacity, "memory is exhausted");
    jpeg_destroy_compress(&info);
    return -1;
  }
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = (JDIMENSION)width;
  info.image_height = (JDIMENSION)height;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  info.dct_method = JDCT_IFAST;
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = (JSAMPROW)(rgb + (size_t)info.next_scanline * (size_t)width * 3);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  *data = buffer;
  *length = size;
  return 0;
}
