#pragma once
#define GST_USE_UNSTABLE_API
#include <gst/gst.h>

// The functions of GStreamer that are used, found at run time. Those of gstsdp and gstwebrtc are declared here: their headers come with
// packages of hundreds of megabytes.

typedef struct GstSDPMessage GstSDPMessage;
typedef struct {
  int type;
  GstSDPMessage *sdp;
} GstWebRTCSessionDescription;
enum { SDP_TYPE_OFFER = 1, SDP_TYPE_PRANSWER = 2, SDP_TYPE_ANSWER = 3 };
enum { DIRECTION_SEND_ONLY = 2, DIRECTION_RECEIVE_ONLY = 3, DIRECTION_SEND_RECEIVE = 4 };
enum { GATHERING_COMPLETE = 2 };
enum { CHANNEL_OPEN = 2 };

int gst_sdp_message_new(GstSDPMessage **message);
int gst_sdp_message_parse_buffer(const guint8 *data, guint size, GstSDPMessage *message);
char *gst_sdp_message_as_text(const GstSDPMessage *message);
int gst_sdp_message_free(GstSDPMessage *message);
GstWebRTCSessionDescription *gst_webrtc_session_description_new(int type, GstSDPMessage *sdp);
void gst_webrtc_session_description_free(GstWebRTCSessionDescription *description);
GType gst_webrtc_session_description_get_type(void);

#define CGST_FUNCTIONS(X) \
  X(gst_init_check) \
  X(gst_parse_launch) \
  X(gst_parse_bin_from_description) \
  X(gst_element_factory_find) \
  X(gst_element_get_factory) \
  X(gst_bin_get_by_name) \
  X(gst_bin_add) \
  X(gst_element_set_state) \
  X(gst_element_sync_state_with_parent) \
  X(gst_element_get_static_pad) \
  X(gst_element_get_bus) \
  X(gst_element_set_base_time) \
  X(gst_element_set_start_time) \
  X(gst_element_get_type) \
  X(gst_pipeline_use_clock) \
  X(gst_system_clock_obtain) \
  X(gst_clock_get_time) \
  X(gst_bus_set_sync_handler) \
  X(gst_message_parse_error) \
  X(gst_object_ref) \
  X(gst_object_unref) \
  X(gst_mini_object_unref) \
  X(gst_buffer_new_allocate) \
  X(gst_buffer_fill) \
  X(gst_buffer_map) \
  X(gst_buffer_unmap) \
  X(gst_sample_get_buffer) \
  X(gst_sample_get_segment) \
  X(gst_segment_to_running_time) \
  X(gst_caps_from_string) \
  X(gst_pad_get_current_caps) \
  X(gst_pad_query_caps) \
  X(gst_caps_get_structure) \
  X(gst_structure_get_string) \
  X(gst_structure_get) \
  X(gst_structure_new) \
  X(gst_structure_has_name) \
  X(gst_pad_link) \
  X(gst_pad_add_probe) \
  X(gst_pad_push_event) \
  X(gst_pad_send_event) \
  X(gst_event_new_custom) \
  X(gst_event_get_structure) \
  X(gst_promise_new) \
  X(gst_promise_wait) \
  X(gst_promise_get_reply) \
  X(gst_util_set_object_arg) \
  X(gst_sdp_message_new) \
  X(gst_sdp_message_parse_buffer) \
  X(gst_sdp_message_as_text) \
  X(gst_sdp_message_free) \
  X(gst_webrtc_session_description_new) \
  X(gst_webrtc_session_description_free) \
  X(gst_webrtc_session_description_get_type) \
  X(g_signal_connect_data) \
  X(g_signal_emit_by_name) \
  X(g_signal_handlers_disconnect_matched) \
  X(g_object_get) \
  X(g_object_set) \
  X(g_object_unref) \
  X(g_bytes_get_data) \
  X(g_bytes_new) \
  X(g_bytes_unref) \
  X(g_error_free) \
  X(g_error_get_type) \
  X(g_free)

#undef g_object_ref

typedef struct {
#define CGST_MEMBER(name) __typeof__(&name) name;
  CGST_FUNCTIONS(CGST_MEMBER)
#undef CGST_MEMBER
} cgst_api;

/// All NULL before cgst_load succeeded.
extern cgst_api cgst;
