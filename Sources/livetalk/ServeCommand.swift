import ArgumentParser
import Basics
import ComputeCommands
import Dialogue
import Engine
import Foundation
import Generation
import LiveKit
import Logging
import Server
import Session
import Synchronization
import Torch
import WebRTC

/// `livetalk serve`.
struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Talk to an avatar in a browser, live.",
    discussion: """
      Opens one port for the page, the API, WebSockets and WebRTC's signalling. docs/SERVING.md is the guide; /openapi.json on \
      the port describes every route. The checkpoint is one of LiveTalk or of Live Avatar, known by its files.

      Without a token only this machine is served. With one, everything but health checks and the files of the page needs it. \
      It may also be given as LIVETALK_TOKEN, which no list of processes shows. JSON Web Tokens are taken too, or instead: \
      signed with HS256 by the secret in LIVETALK_JWT_SECRET, or with RS256 or ES256 by a key of --jwks.

      EXAMPLES
        livetalk serve
        livetalk serve --checkpoint weights --avatars faces --device cuda \\
          --dialogue dialogue.json --host 0.0.0.0 --max-sessions 4
      """)

  @Option(help: ArgumentHelp("The folder with the weights; by default the bundled model.", valueName: "dir"))
  var checkpoint = BundledModel.checkpoint

  @Option(
    help: ArgumentHelp(
      "Pictures of the avatars, each with its prompt in a text file beside it.",
      discussion: "By default the folder 'avatars' of the checkpoint.", valueName: "dir"))
  var avatars: String?

  @Option(
    help: ArgumentHelp(
      "Who answers, and with which voice.",
      discussion: "By default the avatar says what is typed, with espeak-ng's voice.", valueName: "file"))
  var dialogue: String?

  @Option(
    help: ArgumentHelp(
      "The weights of the voice activity detector.",
      discussion: "By default the folder 'silero-vad' beside the checkpoint.",
      valueName: "file"))
  var vad: String?

  @Option(help: ArgumentHelp("The address to listen on.", valueName: "name"))
  var host = "127.0.0.1"

  @Option(help: ArgumentHelp("The port to listen on.", valueName: "n"))
  var port = 8080

  @Option(help: ArgumentHelp("What clients must send to be served; at least 16 characters.", valueName: "text"))
  var token: String?

  @Option(
    help: ArgumentHelp(
      "Take tokens (JWT) that are signed by a key of this JWKS file.", discussion: "It is read anew when it changes.",
      valueName: "file"))
  var jwks: String?

  @Option(help: ArgumentHelp("What the claim 'aud' of signed tokens has to name.", valueName: "text"))
  var jwtAudience = "livetalk"

  @Option(help: ArgumentHelp("What the claim 'iss' of signed tokens has to be.", valueName: "text"))
  var jwtIssuer: String?

  @Option(help: ArgumentHelp("Conversations at a time.", valueName: "n"))
  var maxSessions = 1

  @Option(help: ArgumentHelp("Conversations of one address at a time.", valueName: "n"))
  var sessionsPerClient = 4

  @Option(
    help: ArgumentHelp(
      "Where the videos of /v1/videos lie.", discussion: "By default in this user's folder for caches.",
      valueName: "dir"))
  var videos: String?

  @Flag(help: "Count clients by the last address in X-Forwarded-For: a proxy stands before the server.")
  var trustProxy = false

  @Option(help: ArgumentHelp("A STUN server, such as stun://host:3478.", valueName: "url"))
  var stun: String?

  @Option(
    help: ArgumentHelp("A TURN server, such as turn://user:password@host:3478; may be repeated.", valueName: "url"))
  var turn: [String] = []

  @Option(
    help: ArgumentHelp("UDP ports for WebRTC, such as 50000-50100.", valueName: "a-b"), transform: Self.ports)
  var webrtcPorts: ClosedRange<Int>?

  @Option(
    help: ArgumentHelp(
      "A LiveKit server in whose rooms avatars may be, such as wss://live.example.org; may be repeated.",
      valueName: "url"),
    transform: { try LiveKitServer($0) })
  var livekit: [LiveKitServer] = []

  @Option(help: ArgumentHelp("Read the page from a folder, to work on it.", visibility: .hidden))
  var web: String?

  @OptionGroup var adapters: AdapterOptions

  @OptionGroup var compute: ComputeOptions

  @Option(help: "Number type of the models: auto, fp32, bf16 or fp16.")
  var dtype = ComputeType.auto

  @Option(help: ArgumentHelp("Denoising steps of a block.", valueName: "n"))
  var steps = 4

  @OptionGroup var weights: WeightArguments

  @Flag(
    help: ArgumentHelp(
      "Live Avatar: divide the denoising steps and the decoder among the processes that were started together.",
      discussion: """
        2 to --steps + 1 processes, started by torchrun, mpirun or Slurm, or by hand with RANK, WORLD_SIZE and LOCAL_RANK; on GPUs each \
        takes the one of its LOCAL_RANK. The first one serves; signals are for it.
        """))
  var pipeline = false

  private static func ports(_ text: String) throws -> ClosedRange<Int> {
    let numbers = text.split(separator: "-").compactMap { Int($0) }
    guard numbers.count == 2, (1...65_535).contains(numbers[0]), (numbers[0]...65_535).contains(numbers[1]) else {
      throw ValidationError("--webrtc-ports is two ports such as 50000-50100, not \(text)")
    }
    return numbers[0]...numbers[1]
  }

  func validate() throws {
    guard (1...1_000).contains(maxSessions) else {
      throw ValidationError("--max-sessions is a number from 1 to 1000, not \(maxSessions)")
    }
    guard (1...1_000).contains(sessionsPerClient) else {
      throw ValidationError("--sessions-per-client is a number from 1 to 1000, not \(sessionsPerClient)")
    }
    guard (1...1_000).contains(steps) else { throw ValidationError("--steps is a number from 1 to 1000, not \(steps)") }
  }

  func run() throws {
    let device = try compute.resolve()
    var folder = try CheckpointFolder(URL(fileURLWithPath: checkpoint))
    try folder.requireAll()
    folder.adapters = try adapters.adapters()
    if pipeline { try runPipeline(folder) } else { try serve(folder, on: device, nil) }
  }

  /// - Parameter pipeline: the processes that share the work, of which this is the first; nil for this one alone.
  func serve(_ folder: CheckpointFolder, on device: Device, _ pipeline: Pipeline?) throws {
    var settings = LiveServerSettings()
    (settings.host, settings.port, settings.trustsProxy, settings.webFolder) = (host, port, trustProxy, web)
    settings.token = token ?? Self.environment("LIVETALK_TOKEN")
    settings.verifier = try verifier()
    settings.limits.sessionsPerClient = sessionsPerClient
    settings.webRTC.stunServer = stun
    settings.webRTC.turnServers = turn
    settings.webRTC.ports = webrtcPorts
    settings.webRTC.isLoopbackOnly = !settings.isProtected
    settings.liveKit = livekit
    try settings.check()

    let people = avatars.map { URL(fileURLWithPath: $0) } ?? folder.root.appendingPathComponent("avatars")
    let store = try AvatarStore(folder: people, limits: settings.limits)
    let talk = try Dialogue(
      try dialogue.map { try DialogueSettings(contentsOf: URL(fileURLWithPath: $0)) } ?? DialogueSettings())
    var live = LiveSettings()
    live.turns = talk.settings.turnTaking
    let detectors = try SpeechProbabilities(contentsOf: vadFile(folder.root))
    Terminal.line("Loading \(checkpoint) on \(device).")
    let pipelined = try pipeline.map { try pipelinedModels(of: folder, $0) }
    let engine =
      if let pipelined {
        try DeviceEngine(pipeline: pipelined, of: folder, options: sessionOptions(folder), maxSessions: maxSessions)
      } else {
        try DeviceEngine(
          loading: folder, devices: [device], dtype: dtype.resolve(on: device), weights: weights.options,
          maxSessions: maxSessions, steps: steps)
      }
    let server = try LiveServer(
      settings: settings, engine: engine, avatars: store, voice: talk.voice, videoFolder: videoFolder,
      metrics: PrometheusRegistry(), logger: Logger(label: "livetalk")
    ) { [live] request in
      let session = try await engine.open(request)
      let parts = LiveParts(
        responder: talk.responder(), voice: talk.voice, transcriber: talk.transcriber, detector: detectors.detector(),
        avatar: { try store.picture($0) })
      return LiveSession(engine: session, information: engine.information, parts: parts, settings: live)
    }
    let isProtected = settings.isProtected
    try waitFor {
      // The first connection need not wait for GStreamer's parts; without them all but WebRTC works.
      DispatchQueue.global().async {
        do { try Peer.warmUp() } catch { Terminal.error("livetalk: \(userSentence(error))") }
      }
      // The page is there while the models warm up; sessions are taken when they have.
      let (stops, stop) = AsyncStream.makeStream(of: Void.self)
      async let warm: Void = Self.warmUp(engine, orElse: stop)
      try await server.run(stop: stops) { port in announce(port, isProtected) }
      try await warm
    }
    try pipelined?.stop()
  }

  private static func environment(_ name: String) -> String? {
    ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
  }

  private func verifier() throws -> TokenVerifier? {
    let secret = Self.environment("LIVETALK_JWT_SECRET")
    guard secret != nil || jwks != nil else { return nil }
    return try TokenVerifier(
      secret: secret, file: jwks.map { URL(fileURLWithPath: $0) }, audience: jwtAudience, issuer: jwtIssuer)
  }

  /// An engine that cannot make a block never takes a session: the server ends, and says why.
  private static func warmUp(_ engine: DeviceEngine, orElse stop: AsyncStream<Void>.Continuation) async throws {
    do { try await engine.prepare() } catch {
      stop.yield()
      throw error
    }
  }

  private func announce(_ port: Int, _ isProtected: Bool) {
    let name = ["127.0.0.1", "0.0.0.0", "::"].contains(host) ? "127.0.0.1" : host
    Terminal.line(
      "LiveTalk is on http://\(name):\(port)/\(isProtected ? "#token=…, with your token" : ""); Ctrl-C stops it.")
  }

  private func vadFile(_ checkpoint: URL) throws -> URL {
    if let vad { return URL(fileURLWithPath: vad) }
    let name = "silero-vad/silero_vad_16k.safetensors"
    let places = [checkpoint.deletingLastPathComponent(), BundledModel.folder].map {
      $0.appendingPathComponent(name)
    }
    guard let file = places.first(where: { FileManager.default.fileExists(atPath: $0.path) }) else {
      throw FileError(
        places[0], "the voice activity detector is not there; name Models/\(name) of this project with --vad")
    }
    return file
  }

  private var videoFolder: URL {
    if let videos { return URL(fileURLWithPath: videos) }
    let caches = FileManager.default.urls(for: .cachesDirectory, in: .userDomainMask).first
    return (caches ?? FileManager.default.temporaryDirectory).appendingPathComponent("livetalk/videos")
  }
}

/// Runs asynchronous work to its end on other threads, for commands, which are synchronous.
private func waitFor(_ body: @escaping @Sendable () async throws -> Void) throws {
  let outcome = Mutex<Result<Void, any Error>?>(nil)
  let done = DispatchSemaphore(value: 0)
  Task.detached {
    let result = await Result { try await body() }
    outcome.withLock { $0 = result }
    done.signal()
  }
  done.wait()
  try outcome.withLock { $0 }?.get()
}

extension Result where Failure == any Error {
  /// What an asynchronous body returns or throws.
  fileprivate init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}
