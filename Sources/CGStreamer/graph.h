#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "cgstreamer.h"
#include "loader.h"

enum { MOST_SOURCES = 2, MOST_SINKS = 2, LONGEST_TEXT = 65536 };

struct cgst_graph {
  cgst_callbacks callbacks;
  atomic_bool closing;
  GstElement *pipeline;
  GstElement *sources[MOST_SOURCES];
  GstElement *sinks[MOST_SINKS];
  // Of a connection.
  GstElement *webrtc;
  char *receiver;
  char *channel_label;
  atomic_bool has_receiver;
  _Atomic(int64_t) last_packet;
  pthread_mutex_t lock;
  pthread_cond_t gathered;
  GObject *channel;
};

/// Takes an appsink's buffers to the callback.
void cgst_watch_sink(cgst_graph *graph, GstElement *sink, int32_t number);

/// Makes the graph's element `webrtc` what `connection` says. Before PLAYING.
int cgst_connect(cgst_graph *graph, const cgst_connection *connection, char *message, size_t capacity);

void cgst_disconnect(cgst_graph *graph);
