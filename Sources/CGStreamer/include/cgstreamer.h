#pragma once
#include <stddef.h>
#include <stdint.h>

// GStreamer graphs and their WebRTC connections, in plain C types. The libraries are loaded when the first graph is made, not linked:
// without GStreamer everything else works. Functions return 0, or -1 with a sentence in `message`.

/// Loads GStreamer and checks that it has what a connection needs. Safe to call again and from any thread; the first result stays.
int cgst_load(char *message, size_t capacity);

/// Whether GStreamer has the element. Only after cgst_load.
int cgst_has_element(const char *name);

/// Nanoseconds on the clock of all time stamps here: the machine's monotonic one.
int64_t cgst_now(void);

/// A pipeline: what a description in gst-launch's language says.
typedef struct cgst_graph cgst_graph;

/// As GstWebRTCPeerConnectionState counts.
enum {
  CGST_NEW = 0,
  CGST_CONNECTING = 1,
  CGST_CONNECTED = 2,
  CGST_DISCONNECTED = 3,
  CGST_CONNECTION_FAILED = 4,
  CGST_CLOSED = 5,
};

/// What a graph tells its owner, on GStreamer's threads. None is called after cgst_free has returned; any may be NULL.
typedef struct {
  void *context;
  /// A buffer arrived at the appsink `sink<number>`. `bytes` is borrowed for the call.
  void (*buffer)(void *context, int32_t sink, const uint8_t *bytes, size_t length, int64_t time, int32_t is_key);
  /// Who receives what goes into `source0` asks for a picture that needs no other.
  void (*key_frame)(void *context);
  void (*state)(void *context, int32_t state);
  void (*channel)(void *context, int32_t is_open);
  /// A text of the data channel. `text` is borrowed for the call.
  void (*text)(void *context, const char *text);
  /// Bytes of the data channel. `bytes` is borrowed for the call.
  void (*data)(void *context, const uint8_t *bytes, size_t length);
  /// The graph has stopped working. `reason` is borrowed for the call.
  void (*failed)(void *context, const char *reason);
} cgst_callbacks;

/// What a graph's element `webrtc` is to be.
typedef struct {
  /// NULL for none: stun://host:port.
  const char *stun_server;
  /// NULL-terminated: turn(s)://user:password@host:port.
  const char *const *turn_servers;
  int32_t loopback_only;
  /// 0 and 0 for any.
  int32_t first_port, last_port;
  /// In the order of its pads: the media stream all belong to.
  const char *stream_name;
  /// Whether the source of this number also receives (1) or only sends (0).
  int32_t receives[2];
  /// Whether lost packets of the source of this number are sent again to who asks.
  int32_t retransmits[2];
  /// NULL, or caps of RTP that a connection without sources receives.
  const char *receive_only_caps;
  /// NULL, or a description of what decodes the received sound, from RTP to an appsink.
  const char *receiver;
  /// The data channel of this label counts: cgst_offer opens it, cgst_answer waits for the other side to. NULL: the first one that the
  /// other side opens.
  const char *channel_label;
} cgst_connection;

/// New graph, in the state PLAYING. Appsrcs are called source0, source1, appsinks sink0 …; what connects is called webrtc.
/// - connection: NULL for a graph without such an element.
cgst_graph *cgst_new(
    const char *description, const cgst_connection *connection, const cgst_callbacks *callbacks, char *message,
    size_t capacity);

/// Stops and frees the graph. Blocks until its threads have ended: not to be called by one of them.
void cgst_free(cgst_graph *graph);

/// Gives a buffer to `source<number>`: a copy is made. Never blocks.
int cgst_push(cgst_graph *graph, int32_t source, const void *bytes, size_t length, int64_t time, int64_t duration, int32_t is_key);

/// Asks the encoder in front of sink0 to make its next picture one that needs no other.
void cgst_want_key_frame(cgst_graph *graph);

/// The answer to an offer, once ICE candidates are gathered or `gather_milliseconds` have passed. Blocks. `answer` is new, for free().
int cgst_answer(
    cgst_graph *graph, const char *offer, int32_t gather_milliseconds, char **answer, char *message, size_t capacity);

/// An offer of all that the graph's sources send, and of its data channel, as above. Blocks. `offer` is new, for free().
int cgst_offer(cgst_graph *graph, int32_t gather_milliseconds, char **offer, char *message, size_t capacity);

/// Takes the answer to what cgst_offer gave. Blocks.
int cgst_accept(cgst_graph *graph, const char *answer, char *message, size_t capacity);

void cgst_add_candidate(cgst_graph *graph, uint32_t media_line, const char *candidate);

/// Sends a text over the data channel.
int cgst_send(cgst_graph *graph, const char *text);

/// Sends bytes over the data channel.
int cgst_send_data(cgst_graph *graph, const void *bytes, size_t length);

/// When the last packet of any kind came in, on the clock of cgst_now; 0 for never.
int64_t cgst_last_packet(cgst_graph *graph);
