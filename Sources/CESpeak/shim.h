#pragma once
#include <errno.h>
#include <espeak-ng/speak_lib.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// espeak-ng keeps its state in global variables that neither a new voice nor espeak_Terminate resets: what it says depends on
// what it said before. So every utterance is spoken in a forked child, whose library is as it was loaded; memory that
// both share carries the result. The parent must never initialise the library itself.

enum { CESPEAK_LONGEST_SECONDS = 120, CESPEAK_MOST_EVENTS = 16384, CESPEAK_MOST_RATE = 48000 };

enum {
  CESPEAK_OK = 0,
  CESPEAK_NO_MEMORY = 1,
  CESPEAK_NO_DATA = 2,
  CESPEAK_NO_VOICE = 3,
  CESPEAK_FAILED = 4,
  CESPEAK_TOO_LONG = 5,
};

typedef struct {
  int32_t sample;    // where it begins, in samples
  int32_t position;  // a word: its first character, from 1; else 0
  char name[12];     // a phoneme in IPA, UTF-8; empty for a pause and for a word
} cespeak_event;

typedef struct {
  volatile int32_t done;
  int32_t status;
  int32_t rate;
  int32_t sample_count;
  int32_t event_count;
  cespeak_event events[CESPEAK_MOST_EVENTS];
  int16_t samples[CESPEAK_LONGEST_SECONDS * CESPEAK_MOST_RATE];
} cespeak_utterance;

/// What the library is speaking; its callback is given no pointer of ours.
static inline cespeak_utterance **cespeak_current(void) {
  static cespeak_utterance *current;
  return &current;
}

static inline int cespeak_take(short *samples, int count, espeak_EVENT *events) {
  cespeak_utterance *const utterance = *cespeak_current();
  for (; events && events->type != espeakEVENT_LIST_TERMINATED; events++) {
    if (events->type != espeakEVENT_PHONEME && events->type != espeakEVENT_WORD) continue;
    if (utterance->event_count == CESPEAK_MOST_EVENTS) {
      utterance->status = CESPEAK_TOO_LONG;
      return 1;
    }
    cespeak_event *const event = &utterance->events[utterance->event_count++];
    event->sample = events->sample;
    if (events->type == espeakEVENT_WORD) {
      event->position = events->text_position;
    } else {
      memcpy(event->name, events->id.string, sizeof events->id.string);
    }
  }
  if (!samples || count <= 0) return 0;
  if (count > (int)(sizeof utterance->samples / sizeof(int16_t)) - utterance->sample_count) {
    utterance->status = CESPEAK_TOO_LONG;
    return 1;
  }
  memcpy(utterance->samples + utterance->sample_count, samples, (size_t)count * sizeof(int16_t));
  utterance->sample_count += count;
  return 0;
}

static inline int cespeak_speak_in_child(const char *voice, const char *text, int rate, int pitch, int range) {
  // The library writes its complaints to standard error.
  const int nowhere = open("/dev/null", O_WRONLY);
  if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
  srand(1);
  const int options = espeakINITIALIZE_PHONEME_EVENTS | espeakINITIALIZE_PHONEME_IPA | espeakINITIALIZE_DONT_EXIT;
  (*cespeak_current())->rate = espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, NULL, options);
  if ((*cespeak_current())->rate <= 0) return CESPEAK_NO_DATA;
  if (espeak_SetVoiceByName(voice) != EE_OK) return CESPEAK_NO_VOICE;
  espeak_SetParameter(espeakRATE, rate, 0);
  espeak_SetParameter(espeakPITCH, pitch, 0);
  espeak_SetParameter(espeakRANGE, range, 0);
  espeak_SetSynthCallback(cespeak_take);
  if (espeak_Synth(text, strlen(text) + 1, 0, POS_CHARACTER, 0, espeakCHARS_UTF8, NULL, NULL) != EE_OK) {
    return CESPEAK_FAILED;
  }
  return (*cespeak_current())->status;
}

/// Speaks a text. Returns a new utterance (status and all), for cespeak_free; NULL when memory is exhausted.
static inline cespeak_utterance *cespeak_speak(
    const char *voice, const char *text, int rate, int pitch, int range, int longest_milliseconds) {
  void *const memory = mmap(
      NULL, sizeof(cespeak_utterance), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);
  if (memory == MAP_FAILED) return NULL;
  cespeak_utterance *const utterance = (cespeak_utterance *)memory;
  const pid_t child = fork();
  if (child == 0) {
    *cespeak_current() = utterance;
    utterance->status = cespeak_speak_in_child(voice, text, rate, pitch, range);
    utterance->done = 1;
    _exit(0);
  }
  if (child < 0) {
    utterance->status = CESPEAK_NO_MEMORY;
    return utterance;
  }
  const struct timespec pause = {0, 500000};
  for (int waited = 0;; waited++) {
    const pid_t ended = waitpid(child, NULL, WNOHANG);
    // Without a child to wait for, somebody else has reaped it.
    if (ended == child || (ended < 0 && errno != EINTR)) break;
    if (waited / 2 >= longest_milliseconds) {
      kill(child, SIGKILL);
      while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
      break;
    }
    nanosleep(&pause, NULL);
  }
  if (!utterance->done) utterance->status = CESPEAK_FAILED;
  return utterance;
}

static inline void cespeak_free(cespeak_utterance *utterance) { munmap(utterance, sizeof(cespeak_utterance)); }

static inline const int16_t *cespeak_samples(const cespeak_utterance *utterance) { return utterance->samples; }
static inline const cespeak_event *cespeak_events(const cespeak_utterance *utterance) { return utterance->events; }
static inline const char *cespeak_event_name(const cespeak_event *event) { return event->name; }
