#include "graph.h"

#include <stdio.h>
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <string.h>

typedef struct {
  cgst_graph *graph;
  int32_t number;
} sink_place;

static void free_place(gpointer place, GClosure *closure) {
  (void)closure;
  free(place);
}

static GstFlowReturn take_sample(GstElement *sink, sink_place *place) {
  GstSample *sample = NULL;
  cgst.g_signal_emit_by_name(sink, "pull-sample", &sample);
  if (!sample) return GST_FLOW_EOS;
  cgst_graph *const graph = place->graph;
  GstBuffer *const buffer = cgst.gst_sample_get_buffer(sample);
  GstMapInfo map;
  if (!atomic_load(&graph->closing) && graph->callbacks.buffer && cgst.gst_buffer_map(buffer, &map, GST_MAP_READ)) {
    const int is_key = !(GST_MINI_OBJECT_FLAGS(buffer) & GST_BUFFER_FLAG_DELTA_UNIT);
    // Encoders may shift the stamps and the segment together.
    const GstClockTime time = cgst.gst_segment_to_running_time(
        cgst.gst_sample_get_segment(sample), GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
    graph->callbacks.buffer(
        graph->callbacks.context, place->number, map.data, map.size, (int64_t)time, is_key);
    cgst.gst_buffer_unmap(buffer, &map);
  }
  cgst.gst_mini_object_unref(GST_MINI_OBJECT_CAST(sample));
  return GST_FLOW_OK;
}

void cgst_watch_sink(cgst_graph *graph, GstElement *sink, int32_t number) {
  sink_place *const place = malloc(sizeof *place);
  *place = (sink_place){graph, number};
  cgst.gst_util_set_object_arg((GObject *)(sink), "emit-signals", "true");
  cgst.g_signal_connect_data(sink, "new-sample", G_CALLBACK(take_sample), place, free_place, 0);
}

/// Nobody reads the bus: what is not told here is dropped, or it would pile up.
static GstBusSyncReply take_message(GstBus *bus, GstMessage *message, gpointer data) {
  (void)bus;
  cgst_graph *const graph = data;
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR && !atomic_load(&graph->closing) && graph->callbacks.failed) {
    GError *error = NULL;
    cgst.gst_message_parse_error(message, &error, NULL);
    graph->callbacks.failed(graph->callbacks.context, error ? error->message : "no reason given");
    if (error) cgst.g_error_free(error);
  }
  cgst.gst_mini_object_unref(GST_MINI_OBJECT_CAST(message));
  return GST_BUS_DROP;
}

/// Requests for a key picture come up the stream as events.
static GstPadProbeReturn take_event(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
  (void)pad;
  cgst_graph *const graph = data;
  GstEvent *const event = GST_PAD_PROBE_INFO_DATA(info);
  if (GST_EVENT_TYPE(event) != GST_EVENT_CUSTOM_UPSTREAM) return GST_PAD_PROBE_OK;
  const GstStructure *const structure = cgst.gst_event_get_structure(event);
  if (structure && cgst.gst_structure_has_name(structure, "GstForceKeyUnit") && !atomic_load(&graph->closing) &&
      graph->callbacks.key_frame) {
    graph->callbacks.key_frame(graph->callbacks.context);
  }
  return GST_PAD_PROBE_OK;
}

cgst_graph *cgst_new(
    const char *description, const cgst_connection *connection, const cgst_callbacks *callbacks, char *message,
    size_t capacity) {
  // In these brackets a description of a single element makes a pipeline too.
  const size_t length = strlen(description) + 16;
  char *const whole = malloc(length);
  snprintf(whole, length, "pipeline.( %s )", description);
  GError *error = NULL;
  GstElement *const pipeline = cgst.gst_parse_launch(whole, &error);
  free(whole);
  if (error || !pipeline) {
    snprintf(message, capacity, "%s", error ? error->message : "the description makes no pipeline");
    if (error) cgst.g_error_free(error);
    if (pipeline) cgst.gst_object_unref(pipeline);
    return NULL;
  }
  cgst_graph *const graph = calloc(1, sizeof *graph);
  graph->callbacks = *callbacks;
  graph->pipeline = pipeline;
  pthread_mutex_init(&graph->lock, NULL);
  pthread_cond_init(&graph->gathered, NULL);

  char name[16];
  for (int32_t i = 0; i < MOST_SOURCES; i++) {
    snprintf(name, sizeof name, "source%d", i);
    graph->sources[i] = cgst.gst_bin_get_by_name((GstBin *)pipeline, name);
  }
  for (int32_t i = 0; i < MOST_SINKS; i++) {
    snprintf(name, sizeof name, "sink%d", i);
    graph->sinks[i] = cgst.gst_bin_get_by_name((GstBin *)pipeline, name);
    if (graph->sinks[i]) cgst_watch_sink(graph, graph->sinks[i], i);
  }
  if (graph->sources[0]) {
    GstPad *const pad = cgst.gst_element_get_static_pad(graph->sources[0], "src");
    cgst.gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, take_event, graph, NULL);
    cgst.gst_object_unref(pad);
  }
  GstBus *const bus = cgst.gst_element_get_bus(pipeline);
  cgst.gst_bus_set_sync_handler(bus, take_message, graph, NULL);
  cgst.gst_object_unref(bus);

  // With a base time of 0 the running time of every graph is the machine's clock: a stamp means the same in all of them.
  GstClock *const clock = cgst.gst_system_clock_obtain();
  cgst.gst_pipeline_use_clock((GstPipeline *)pipeline, clock);
  cgst.gst_object_unref(clock);
  cgst.gst_element_set_start_time(pipeline, GST_CLOCK_TIME_NONE);
  cgst.gst_element_set_base_time(pipeline, 0);

  if (connection && cgst_connect(graph, connection, message, capacity)) {
    cgst_free(graph);
    return NULL;
  }
  if (cgst.gst_element_set_state(pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE) {
    snprintf(message, capacity, "the pipeline does not start");
    cgst_free(graph);
    return NULL;
  }
  return graph;
}

void cgst_free(cgst_graph *graph) {
  atomic_store(&graph->closing, true);
  cgst.gst_element_set_state(graph->pipeline, GST_STATE_NULL);
  cgst_disconnect(graph);
  for (int32_t i = 0; i < MOST_SINKS; i++) {
    if (graph->sinks[i]) cgst.gst_object_unref(graph->sinks[i]);
  }
  for (int32_t i = 0; i < MOST_SOURCES; i++) {
    if (graph->sources[i]) cgst.gst_object_unref(graph->sources[i]);
  }
  GstBus *const bus = cgst.gst_element_get_bus(graph->pipeline);
  cgst.gst_bus_set_sync_handler(bus, NULL, NULL, NULL);
  cgst.gst_object_unref(bus);
  cgst.gst_object_unref(graph->pipeline);
  pthread_cond_destroy(&graph->gathered);
  pthread_mutex_destroy(&graph->lock);
  free(graph);
#ifdef __GLIBC__
  // Threads come and go with a graph, and what they freed stays with the arena that each had: 200 kB a connection, for a long time.
  malloc_trim(0);
#endif
}

int cgst_push(
    cgst_graph *graph, int32_t source, const void *bytes, size_t length, int64_t time, int64_t duration, int32_t is_key) {
  GstBuffer *const buffer = cgst.gst_buffer_new_allocate(NULL, length, NULL);
  if (!buffer) return -1;
  cgst.gst_buffer_fill(buffer, 0, bytes, length);
  GST_BUFFER_PTS(buffer) = (GstClockTime)time;
  GST_BUFFER_DURATION(buffer) = (GstClockTime)duration;
  if (!is_key) GST_MINI_OBJECT_FLAGS(buffer) |= GST_BUFFER_FLAG_DELTA_UNIT;
  GstFlowReturn flow = GST_FLOW_ERROR;
  cgst.g_signal_emit_by_name(graph->sources[source], "push-buffer", buffer, &flow);
  cgst.gst_mini_object_unref(GST_MINI_OBJECT_CAST(buffer));
  return flow == GST_FLOW_OK ? 0 : -1;
}

void cgst_want_key_frame(cgst_graph *graph) {
  GstStructure *const structure = cgst.gst_structure_new(
      "GstForceKeyUnit", "all-headers", G_TYPE_BOOLEAN, TRUE, "count", G_TYPE_UINT, 0, NULL);
  GstEvent *const event = cgst.gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, structure);
  GstPad *const pad = cgst.gst_element_get_static_pad(graph->sinks[0], "sink");
  cgst.gst_pad_push_event(pad, event);
  cgst.gst_object_unref(pad);
}
