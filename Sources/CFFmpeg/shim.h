#pragma once
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libavutil/channel_layout.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>

// Names for what Swift cannot import (function-like macros), and for what differs between FFmpeg 5, 6 and 7.

static inline int cff_posix_error(int code) { return AVERROR(code); }
static inline int cff_error_end(void) { return AVERROR_EOF; }
static inline int cff_error_again(void) { return AVERROR(EAGAIN); }
static inline int cff_error_invalid(void) { return AVERROR_INVALIDDATA; }
static inline int64_t cff_no_timestamp(void) { return AV_NOPTS_VALUE; }
static inline int cff_strict_errors(void) { return AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE; }

static inline int cff_scaling_flags(void) {
  return SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT;
}

static inline struct SwsContext *cff_scaler(
    int width, int height, int source_format, int source_matrix, int source_full_range, int target_width,
    int target_format, int target_matrix, int target_full_range) {
  struct SwsContext *context = sws_getContext(
      width, height, (enum AVPixelFormat)source_format, target_width, height, (enum AVPixelFormat)target_format,
      cff_scaling_flags(), NULL, NULL, NULL);
  if (context)
    // Refused for pairs of formats without a matrix, which then need none.
    (void)sws_setColorspaceDetails(
        context, sws_getCoefficients(source_matrix), source_full_range, sws_getCoefficients(target_matrix),
        target_full_range, 0, 1 << 16, 1 << 16);
  return context;
}

static inline int cff_scale(struct SwsContext *context, const AVFrame *source, AVFrame *target) {
  return sws_scale(
      context, (const uint8_t *const *)source->data, source->linesize, 0, source->height, target->data,
      target->linesize);
}

static inline int cff_resample(
    struct SwrContext *context, float *output, int capacity, const float *input, int count) {
  uint8_t *outputs[1] = {(uint8_t *)output};
  const uint8_t *inputs[1] = {(const uint8_t *)input};
  return swr_convert(context, outputs, capacity, input ? inputs : NULL, count);
}

static inline struct SwrContext *cff_mono_resampler(int source_rate, int target_rate) {
  struct SwrContext *context = NULL;
  AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
  if (swr_alloc_set_opts2(
          &context, &mono, AV_SAMPLE_FMT_FLT, target_rate, &mono, AV_SAMPLE_FMT_FLT, source_rate, 0, NULL) < 0)
    return NULL;
  return context;
}

static inline void cff_set_mono(AVChannelLayout *layout) {
  AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
  av_channel_layout_uninit(layout);
  *layout = mono;
}

/// Reads the first packets of every stream, with pictures above the limit refused before they are allocated.
static inline int cff_find_stream_info(AVFormatContext *context, int64_t maximum_pixels) {
  unsigned count = context->nb_streams;
  AVDictionary **options = count ? (AVDictionary **)av_calloc(count, sizeof(*options)) : NULL;
  for (unsigned i = 0; options && i < count; i++) av_dict_set_int(&options[i], "max_pixels", maximum_pixels, 0);
  int status = avformat_find_stream_info(context, options);
  for (unsigned i = 0; options && i < count; i++) av_dict_free(&options[i]);
  av_free(options);
  return status;
}

/// The 3×3 matrix that turns decoded pictures upright, or null; borrowed from the stream.
static inline const int32_t *cff_display_matrix(const AVStream *stream) {
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 102)
  const AVPacketSideData *found = av_packet_side_data_get(
      stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return found && found->size >= 36 ? (const int32_t *)found->data : NULL;
#else
  size_t size = 0;
  const uint8_t *found = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  return found && size >= 36 ? (const int32_t *)found : NULL;
#endif
}

static inline const int32_t *cff_frame_display_matrix(const AVFrame *frame) {
  const AVFrameSideData *found = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
  return found && found->size >= 36 ? (const int32_t *)found->data : NULL;
}

static inline int cff_is_interlaced(const AVFrame *frame) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
  return (frame->flags & AV_FRAME_FLAG_INTERLACED) != 0;
#else
  return frame->interlaced_frame;
#endif
}
