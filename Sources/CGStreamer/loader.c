#include "loader.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cgstreamer.h"

cgst_api cgst;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char failure[512];
static GstClock *system_clock;

static void load(void) {
#ifdef __APPLE__
  const char *const names[] = {
      "libgstwebrtc-1.0.0.dylib", "/opt/homebrew/lib/libgstwebrtc-1.0.0.dylib", "/usr/local/lib/libgstwebrtc-1.0.0.dylib"};
#else
  const char *const names[] = {"libgstwebrtc-1.0.so.0"};
#endif
  // It pulls in GStreamer's core, gstsdp, GObject and GLib; a look-up in it finds theirs too.
  void *library = NULL;
  for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++) {
    library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
  }
  if (!library) {
    snprintf(failure, sizeof failure, "GStreamer is not installed: %s", dlerror());
    return;
  }
#define CGST_FIND(name) \
  if (!(cgst.name = (__typeof__(cgst.name))dlsym(library, #name))) { \
    snprintf(failure, sizeof failure, "this GStreamer is too old: it has no " #name); \
    return; \
  }
  CGST_FUNCTIONS(CGST_FIND)
#undef CGST_FIND
  GError *error = NULL;
  if (!cgst.gst_init_check(NULL, NULL, &error)) {
    snprintf(failure, sizeof failure, "GStreamer does not start: %s", error ? error->message : "no reason given");
    return;
  }
  const char *const needed[][2] = {
      {"webrtcbin", "bad"}, {"dtlssrtpenc", "bad"}, {"sctpenc", "bad"}, {"nicesink", "nice"},
      {"rtpbin", "good"}, {"srtpenc", "bad"}, {"vp8enc", "good"}, {"rtpvp8pay", "good"}, {"rtpopuspay", "good"},
      {"appsrc", "base"}, {"opusenc", "base"}, {"videoconvert", "base"}, {"audioresample", "base"},
  };
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
    if (!cgst_has_element(needed[i][0])) {
      const int nice = !strcmp(needed[i][1], "nice");
      snprintf(
          failure, sizeof failure, "GStreamer has no element %s (Debian: gstreamer1.0-%s%s)", needed[i][0],
          nice ? "" : "plugins-", needed[i][1]);
      return;
    }
  }
  system_clock = cgst.gst_system_clock_obtain();
}

int cgst_load(char *message, size_t capacity) {
  pthread_once(&once, load);
  snprintf(message, capacity, "%s", failure);
  return failure[0] ? -1 : 0;
}

int cgst_has_element(const char *name) {
  GstElementFactory *const factory = cgst.gst_element_factory_find(name);
  if (!factory) return 0;
  cgst.gst_object_unref(factory);
  return 1;
}

int64_t cgst_now(void) { return (int64_t)cgst.gst_clock_get_time(system_clock); }
