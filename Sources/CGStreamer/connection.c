#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "graph.h"

// MARK: signals of webrtcbin

static void take_state(GObject *webrtc, GParamSpec *specification, cgst_graph *graph) {
  (void)specification;
  int state = 0;
  cgst.g_object_get(webrtc, "connection-state", &state, NULL);
  if (!atomic_load(&graph->closing) && graph->callbacks.state) {
    graph->callbacks.state(graph->callbacks.context, state);
  }
}

static void take_gathering(GObject *webrtc, GParamSpec *specification, cgst_graph *graph) {
  (void)webrtc;
  (void)specification;
  pthread_mutex_lock(&graph->lock);
  pthread_cond_broadcast(&graph->gathered);
  pthread_mutex_unlock(&graph->lock);
}

static void take_text(GObject *channel, const char *text, cgst_graph *graph) {
  (void)channel;
  if (!text || strnlen(text, LONGEST_TEXT + 1) > LONGEST_TEXT) return;
  if (!atomic_load(&graph->closing) && graph->callbacks.text) graph->callbacks.text(graph->callbacks.context, text);
}

static void take_data(GObject *channel, GBytes *data, cgst_graph *graph) {
  (void)channel;
  gsize length = 0;
  const void *const bytes = data ? cgst.g_bytes_get_data(data, &length) : NULL;
  if (!bytes || length > LONGEST_TEXT || atomic_load(&graph->closing) || !graph->callbacks.data) return;
  graph->callbacks.data(graph->callbacks.context, bytes, length);
}

static void take_channel_state(GObject *channel, GParamSpec *specification, cgst_graph *graph) {
  (void)specification;
  int state = 0;
  cgst.g_object_get(channel, "ready-state", &state, NULL);
  if (state < CHANNEL_OPEN || atomic_load(&graph->closing) || !graph->callbacks.channel) return;
  graph->callbacks.channel(graph->callbacks.context, state == CHANNEL_OPEN);
}

/// The first channel, of the label that is wanted, is the one; further ones are let be.
static void take_channel(GstElement *webrtc, GObject *channel, cgst_graph *graph) {
  (void)webrtc;
  if (graph->channel_label) {
    char *label = NULL;
    cgst.g_object_get(channel, "label", &label, NULL);
    const int is_wanted = label && !strcmp(label, graph->channel_label);
    cgst.g_free(label);
    if (!is_wanted) return;
  }
  pthread_mutex_lock(&graph->lock);
  const int is_first = !graph->channel;
  if (is_first) graph->channel = cgst.gst_object_ref(channel);
  pthread_mutex_unlock(&graph->lock);
  if (!is_first) return;
  cgst.g_signal_connect_data(channel, "on-message-string", G_CALLBACK(take_text), graph, NULL, 0);
  cgst.g_signal_connect_data(channel, "on-message-data", G_CALLBACK(take_data), graph, NULL, 0);
  cgst.g_signal_connect_data(channel, "notify::ready-state", G_CALLBACK(take_channel_state), graph, NULL, 0);
  take_channel_state(channel, NULL, graph);
}

/// Opens the channel of the graph's label, if it has one: an offer then has a section for it.
static int open_channel(cgst_graph *graph, char *message, size_t capacity) {
  if (!graph->channel_label) return 0;
  GObject *channel = NULL;
  cgst.g_signal_emit_by_name(graph->webrtc, "create-data-channel", graph->channel_label, NULL, &channel);
  if (!channel) {
    snprintf(message, capacity, "no data channel can be opened");
    return -1;
  }
  take_channel(graph->webrtc, channel, graph);
  cgst.g_object_unref(channel);
  return 0;
}

/// Received media: sound goes to the receiver, once; all else is thrown away.
static void take_pad(GstElement *webrtc, GstPad *pad, cgst_graph *graph) {
  (void)webrtc;
  if (GST_PAD_DIRECTION(pad) != GST_PAD_SRC || atomic_load(&graph->closing)) return;
  GstCaps *caps = cgst.gst_pad_get_current_caps(pad);
  if (!caps) caps = cgst.gst_pad_query_caps(pad, NULL);
  const char *const media = cgst.gst_structure_get_string(cgst.gst_caps_get_structure(caps, 0), "media");
  const int is_sound =
      media && !strcmp(media, "audio") && graph->receiver && !atomic_exchange(&graph->has_receiver, true);
  cgst.gst_mini_object_unref(GST_MINI_OBJECT_CAST(caps));

  GError *error = NULL;
  GstElement *const bin = cgst.gst_parse_bin_from_description(
      is_sound ? graph->receiver : "fakesink sync=false async=false", TRUE, &error);
  if (error || !bin) {
    if (graph->callbacks.failed) {
      graph->callbacks.failed(graph->callbacks.context, error ? error->message : "nothing receives the sound");
    }
    if (error) cgst.g_error_free(error);
    return;
  }
  if (is_sound) {
    GstElement *const sink = cgst.gst_bin_get_by_name((GstBin *)bin, "sink1");
    cgst_watch_sink(graph, sink, 1);
    cgst.gst_object_unref(sink);
  }
  cgst.gst_bin_add((GstBin *)graph->pipeline, bin);
  cgst.gst_element_sync_state_with_parent(bin);
  GstPad *const sink_pad = cgst.gst_element_get_static_pad(bin, "sink");
  cgst.gst_pad_link(pad, sink_pad);
  cgst.gst_object_unref(sink_pad);
}

static GstPadProbeReturn take_packet(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
  (void)pad;
  (void)info;
  atomic_store(&((cgst_graph *)data)->last_packet, cgst_now());
  return GST_PAD_PROBE_OK;
}

/// What comes from the network comes out of a nicesrc.
static void take_element(GstBin *pipeline, GstBin *bin, GstElement *element, cgst_graph *graph) {
  (void)pipeline;
  (void)bin;
  GstElementFactory *const factory = cgst.gst_element_get_factory(element);
  if (!factory || strcmp(GST_OBJECT_NAME(factory), "nicesrc")) return;
  GstPad *const pad = cgst.gst_element_get_static_pad(element, "src");
  cgst.gst_pad_add_probe(
      pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST, take_packet, graph, NULL);
  cgst.gst_object_unref(pad);
}

// MARK: setting up

static void set_up_ice(cgst_graph *graph, const cgst_connection *connection) {
  GObject *const webrtc = (GObject *)(graph->webrtc);
  GObject *ice = NULL, *agent = NULL;
  if (connection->stun_server) cgst.gst_util_set_object_arg(webrtc, "stun-server", connection->stun_server);
  for (const char *const *server = connection->turn_servers; server && *server; server++) {
    gboolean added = FALSE;
    cgst.g_signal_emit_by_name(webrtc, "add-turn-server", *server, &added);
  }
  cgst.g_object_get(webrtc, "ice-agent", &ice, NULL);
  if (!ice) return;
  if (connection->first_port && connection->last_port) {
    cgst.g_object_set(
        ice, "max-rtp-port", (guint)connection->last_port, "min-rtp-port", (guint)connection->first_port, NULL);
  }
  cgst.g_object_get(ice, "agent", &agent, NULL);
  if (agent) {
    // Gathering waits for routers that answer neither, 200 ms each time.
    cgst.g_object_set(agent, "upnp", FALSE, "ice-tcp", FALSE, NULL);
    cgst.g_object_unref(agent);
  }
  if (connection->loopback_only) {
    gboolean added = FALSE;
    cgst.g_signal_emit_by_name(ice, "add-local-ip-address", "127.0.0.1", &added);
  }
  cgst.g_object_unref(ice);
}

static void set_up_pads(cgst_graph *graph, const cgst_connection *connection) {
  for (int32_t i = 0; i < MOST_SOURCES; i++) {
    char name[16];
    snprintf(name, sizeof name, "sink_%d", i);
    GstPad *const pad = cgst.gst_element_get_static_pad(graph->webrtc, name);
    if (!pad) continue;
    // Without one stream for both, receivers let sound and picture drift apart.
    cgst.g_object_set(pad, "msid", connection->stream_name, NULL);
    GObject *transceiver = NULL;
    cgst.g_object_get(pad, "transceiver", &transceiver, NULL);
    if (transceiver) {
      cgst.g_object_set(
          transceiver, "do-nack", (gboolean)connection->retransmits[i], "direction",
          connection->receives[i] ? DIRECTION_SEND_RECEIVE : DIRECTION_SEND_ONLY, NULL);
      cgst.g_object_unref(transceiver);
    }
    cgst.gst_object_unref(pad);
  }
}

int cgst_connect(cgst_graph *graph, const cgst_connection *connection, char *message, size_t capacity) {
  graph->webrtc = cgst.gst_bin_get_by_name((GstBin *)graph->pipeline, "webrtc");
  if (!graph->webrtc) {
    snprintf(message, capacity, "the description has no element webrtc");
    return -1;
  }
  if (connection->receiver) graph->receiver = strdup(connection->receiver);
  if (connection->channel_label) graph->channel_label = strdup(connection->channel_label);
  set_up_ice(graph, connection);
  set_up_pads(graph, connection);
  if (connection->receive_only_caps) {
    GstCaps *const caps = cgst.gst_caps_from_string(connection->receive_only_caps);
    GObject *transceiver = NULL;
    cgst.g_signal_emit_by_name(graph->webrtc, "add-transceiver", DIRECTION_RECEIVE_ONLY, caps, &transceiver);
    cgst.gst_mini_object_unref(GST_MINI_OBJECT_CAST(caps));
    if (transceiver) cgst.g_object_unref(transceiver);
  }
  // Sender reports otherwise name the time of sending, which is not the same for sound and picture: lips drift.
  GstElement *const rtp = cgst.gst_bin_get_by_name((GstBin *)graph->webrtc, "rtpbin");
  if (rtp) {
    cgst.gst_util_set_object_arg((GObject *)(rtp), "rtcp-sync-send-time", "false");
    cgst.gst_object_unref(rtp);
  }
  const struct {
    const char *name;
    GCallback function;
  } signals[] = {
      {"pad-added", G_CALLBACK(take_pad)},
      {"on-data-channel", G_CALLBACK(take_channel)},
      {"notify::connection-state", G_CALLBACK(take_state)},
      {"notify::ice-gathering-state", G_CALLBACK(take_gathering)},
  };
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    cgst.g_signal_connect_data(graph->webrtc, signals[i].name, signals[i].function, graph, NULL, 0);
  }
  cgst.g_signal_connect_data(graph->pipeline, "deep-element-added", G_CALLBACK(take_element), graph, NULL, 0);
  return 0;
}

void cgst_disconnect(cgst_graph *graph) {
  if (graph->channel) {
    cgst.g_signal_handlers_disconnect_matched(graph->channel, G_SIGNAL_MATCH_DATA, 0, 0, NULL, NULL, graph);
    cgst.g_object_unref(graph->channel);
  }
  if (graph->webrtc) {
    cgst.g_signal_handlers_disconnect_matched(graph->webrtc, G_SIGNAL_MATCH_DATA, 0, 0, NULL, NULL, graph);
    cgst.gst_object_unref(graph->webrtc);
  }
  free(graph->receiver);
  free(graph->channel_label);
}

// MARK: offer and answer

/// Waits for an action of webrtcbin. New structure or NULL, with the reason in `message`.
static int await_reply(GstPromise *promise, const char *field, GType type, void *value, char *message, size_t capacity) {
  int status = -1;
  if (cgst.gst_promise_wait(promise) != GST_PROMISE_RESULT_REPLIED) {
    snprintf(message, capacity, "the connection was closed");
  } else {
    const GstStructure *const reply = cgst.gst_promise_get_reply(promise);
    GError *error = NULL;
    if (reply) cgst.gst_structure_get(reply, "error", cgst.g_error_get_type(), &error, NULL);
    if (error) {
      snprintf(message, capacity, "%s", error->message);
      cgst.g_error_free(error);
    } else if (field && !(reply && cgst.gst_structure_get(reply, field, type, value, NULL))) {
      snprintf(message, capacity, "there is no %s", field);
    } else {
      status = 0;
    }
  }
  cgst.gst_mini_object_unref(GST_MINI_OBJECT_CAST(promise));
  return status;
}

static void await_gathering(cgst_graph *graph, int32_t milliseconds) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += milliseconds / 1000;
  end.tv_nsec += (long)(milliseconds % 1000) * 1000000;
  if (end.tv_nsec >= 1000000000) {
    end.tv_sec += 1;
    end.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock(&graph->lock);
  for (int state = 0;;) {
    cgst.g_object_get(graph->webrtc, "ice-gathering-state", &state, NULL);
    if (state == GATHERING_COMPLETE) break;
    if (pthread_cond_timedwait(&graph->gathered, &graph->lock, &end) == ETIMEDOUT) break;
  }
  pthread_mutex_unlock(&graph->lock);
}

/// Gives webrtcbin what the other side says.
static int set_remote(cgst_graph *graph, int type, const char *text, char *message, size_t capacity) {
  GstSDPMessage *sdp = NULL;
  cgst.gst_sdp_message_new(&sdp);
  if (cgst.gst_sdp_message_parse_buffer((const guint8 *)text, (guint)strlen(text), sdp)) {
    cgst.gst_sdp_message_free(sdp);
    snprintf(message, capacity, "it is not SDP");
    return -1;
  }
  GstWebRTCSessionDescription *const description = cgst.gst_webrtc_session_description_new(type, sdp);
  GstPromise *const promise = cgst.gst_promise_new();
  cgst.g_signal_emit_by_name(graph->webrtc, "set-remote-description", description, promise);
  cgst.gst_webrtc_session_description_free(description);
  return await_reply(promise, NULL, 0, NULL, message, capacity);
}

/// Lets webrtcbin make its own description, `kind` "offer" or "answer", and waits for its candidates. `text` is new, for free().
static int describe(
    cgst_graph *graph, const char *kind, int32_t gather_milliseconds, char **text, char *message, size_t capacity) {
  char action[16];
  snprintf(action, sizeof action, "create-%s", kind);
  GstPromise *promise = cgst.gst_promise_new();
  cgst.g_signal_emit_by_name(graph->webrtc, action, NULL, promise);
  GstWebRTCSessionDescription *description = NULL;
  const GType type = cgst.gst_webrtc_session_description_get_type();
  if (await_reply(promise, kind, type, &description, message, capacity)) return -1;
  promise = cgst.gst_promise_new();
  cgst.g_signal_emit_by_name(graph->webrtc, "set-local-description", description, promise);
  cgst.gst_webrtc_session_description_free(description);
  if (await_reply(promise, NULL, 0, NULL, message, capacity)) return -1;

  await_gathering(graph, gather_milliseconds);
  description = NULL;
  cgst.g_object_get(graph->webrtc, "local-description", &description, NULL);
  if (!description) {
    snprintf(message, capacity, "the connection was closed");
    return -1;
  }
  char *const sdp = cgst.gst_sdp_message_as_text(description->sdp);
  *text = strdup(sdp);
  cgst.g_free(sdp);
  cgst.gst_webrtc_session_description_free(description);
  return 0;
}

int cgst_answer(
    cgst_graph *graph, const char *offer, int32_t gather_milliseconds, char **answer, char *message, size_t capacity) {
  if (set_remote(graph, SDP_TYPE_OFFER, offer, message, capacity)) return -1;
  return describe(graph, "answer", gather_milliseconds, answer, message, capacity);
}

int cgst_offer(cgst_graph *graph, int32_t gather_milliseconds, char **offer, char *message, size_t capacity) {
  if (open_channel(graph, message, capacity)) return -1;
  return describe(graph, "offer", gather_milliseconds, offer, message, capacity);
}

int cgst_accept(cgst_graph *graph, const char *answer, char *message, size_t capacity) {
  return set_remote(graph, SDP_TYPE_ANSWER, answer, message, capacity);
}

void cgst_add_candidate(cgst_graph *graph, uint32_t media_line, const char *candidate) {
  cgst.g_signal_emit_by_name(graph->webrtc, "add-ice-candidate", (guint)media_line, candidate);
}

/// Lets the channel do `action` with `value`, if it is open.
static int send_message(cgst_graph *graph, const char *action, const void *value) {
  pthread_mutex_lock(&graph->lock);
  GObject *const channel = graph->channel ? cgst.gst_object_ref(graph->channel) : NULL;
  pthread_mutex_unlock(&graph->lock);
  if (!channel) return -1;
  int state = 0;
  cgst.g_object_get(channel, "ready-state", &state, NULL);
  const int is_open = state == CHANNEL_OPEN;
  if (is_open) cgst.g_signal_emit_by_name(channel, action, value);
  cgst.g_object_unref(channel);
  return is_open ? 0 : -1;
}

int cgst_send(cgst_graph *graph, const char *text) { return send_message(graph, "send-string", text); }

int cgst_send_data(cgst_graph *graph, const void *bytes, size_t length) {
  GBytes *const data = cgst.g_bytes_new(bytes, length);
  const int status = send_message(graph, "send-data", data);
  cgst.g_bytes_unref(data);
  return status;
}

int64_t cgst_last_packet(cgst_graph *graph) { return atomic_load(&graph->last_packet); }
