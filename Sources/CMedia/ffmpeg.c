#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libavformat/avformat.h>

#include "CMedia.h"

static _Thread_local char last_line[512];
static _Thread_local char open_line[512];

// A line may come in several pieces; only its end has the line feed.
static void keep_errors(void *source, int level, const char *format, va_list arguments) {
  (void)source;
  if (level > AV_LOG_ERROR) return;
  size_t length = strlen(open_line);
  vsnprintf(open_line + length, sizeof open_line - length, format, arguments);
  length = strlen(open_line);
  int is_whole = length + 1 == sizeof open_line || (length && open_line[length - 1] == '\n');
  if (!is_whole) return;
  while (length && strchr("\n .", open_line[length - 1])) open_line[--length] = 0;
  if (length) memcpy(last_line, open_line, length + 1);
  open_line[0] = 0;
}

void cmedia_quiet_log(void) { av_log_set_callback(keep_errors); }
void cmedia_clear_log(void) { last_line[0] = open_line[0] = 0; }
const char *cmedia_last_log(void) { return last_line; }

#if LIBAVFORMAT_VERSION_MAJOR >= 61
static int write_all(void *opaque, const uint8_t *bytes, int count) {
#else
static int write_all(void *opaque, uint8_t *bytes, int count) {
#endif
  CMediaFile *file = opaque;
  int left = count;
  while (left > 0) {
    ssize_t written = write(file->descriptor, bytes, (size_t)left);
    if (written < 0) {
      if (errno == EINTR) continue;
      if (!file->error) file->error = errno;
      return AVERROR(file->error);
    }
    bytes += written;
    left -= (int)written;
  }
  return count;
}

static int64_t move(void *opaque, int64_t offset, int whence) {
  CMediaFile *file = opaque;
  if (whence & AVSEEK_SIZE) {
    struct stat status;
    return fstat(file->descriptor, &status) ? AVERROR(errno) : (int64_t)status.st_size;
  }
  off_t position = lseek(file->descriptor, (off_t)offset, whence & ~AVSEEK_FORCE);
  return position < 0 ? AVERROR(errno) : (int64_t)position;
}

void *cmedia_io_new(CMediaFile *file) {
  const int capacity = 1 << 16;
  unsigned char *buffer = av_malloc(capacity);
  AVIOContext *io = buffer ? avio_alloc_context(buffer, capacity, 1, file, NULL, write_all, move) : NULL;
  if (!io) av_free(buffer);
  return io;
}

void cmedia_io_free(void *io) {
  AVIOContext *context = io;
  if (!context) return;
  av_freep(&context->buffer);
  avio_context_free(&context);
}
