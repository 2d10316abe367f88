// swift-tools-version: 6.2
import Foundation
import PackageDescription

/// libtorch: the link that `scripts/setup` makes, or any unpacked build named by LIBTORCH.
let libtorch =
  Context.environment["LIBTORCH"].flatMap { $0.isEmpty ? nil : $0 } ?? "\(Context.packageDirectory)/.libtorch"

/// Only the C++ shim sees libtorch's headers. It is optimised in debug builds too: its kernels are the hot loops.
let torchHeaders: [CXXSetting] = [
  .unsafeFlags([
    "-isystem", "\(libtorch)/include", "-isystem", "\(libtorch)/include/torch/csrc/api/include",
    "-O3", "-fno-math-errno", "-Wall", "-Werror",
  ])
]

/// A libtorch with CUDA: NCCL's process groups are compiled where its headers and CUDA's are, in the system or beside libtorch.
let hasCUDA = FileManager.default.fileExists(atPath: "\(libtorch)/lib/libtorch_cuda.so")
let nvidia = URL(fileURLWithPath: libtorch).resolvingSymlinksInPath().deletingLastPathComponent().path + "/nvidia"
let cudaHeaders: [CXXSetting] =
  hasCUDA
  ? [
    .define("CT_LIBTORCH_HAS_CUDA"),
    .unsafeFlags(
      ["nccl/include", "cu13/include", "cu13/include/cccl"].flatMap { ["-isystem", "\(nvidia)/\($0)"] }
        + ["-isystem", "/usr/local/cuda/include", "-isystem", "/usr/local/cuda/include/cccl"]),
  ] : []

/// GStreamer's headers; its libraries are loaded when they are needed, so that everything else works without them.
let gstreamerHeaders: [CSetting] = [
  .unsafeFlags(
    ["/usr/include", "/usr/local/include", "/opt/homebrew/include"]
      .filter { FileManager.default.fileExists(atPath: "\($0)/gstreamer-1.0") }
      .prefix(1).flatMap { ["-isystem", "\($0)/gstreamer-1.0"] } + ["-Wall", "-Werror"])
]

#if os(Linux)
  let torchLibraries =
    ["-Xlinker", "--no-as-needed", "-ltorch_cpu", "-lc10", "-Xlinker", "--as-needed", "-ltorch"]
    + (hasCUDA ? ["-ltorch_cuda", "-lc10_cuda", "-Xlinker", "--allow-shlib-undefined"] : [])
#else
  let torchLibraries = ["-ltorch_cpu", "-lc10", "-ltorch"]
#endif

let torchLinking: [LinkerSetting] = [
  .unsafeFlags(["-L\(libtorch)/lib", "-Xlinker", "-rpath", "-Xlinker", "\(libtorch)/lib"] + torchLibraries)
]

let package = Package(
  name: "LiveTalk",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "livetalk", targets: ["livetalk"]),
    .executable(name: "livetalk-compute", targets: ["livetalk-compute"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.1.0"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.30.0"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.30.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
  ],
  targets: [
    .target(name: "Basics"),
    .target(
      name: "CTorch", cxxSettings: [.headerSearchPath("Gloo")] + torchHeaders + cudaHeaders,
      linkerSettings: torchLinking),
    .target(name: "Torch", dependencies: ["Basics", "CTorch"]),
    .target(name: "Distributed", dependencies: ["Basics", "CTorch", "Torch"]),
    .target(name: "NN", dependencies: ["Basics", "Distributed", "Torch"]),
    .systemLibrary(
      name: "CFFmpeg", pkgConfig: "libavformat",
      providers: [
        .apt(["libavformat-dev", "libavcodec-dev", "libswscale-dev", "libswresample-dev"]), .brew(["ffmpeg"]),
      ]),
    .systemLibrary(
      name: "CJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg-dev"]), .brew(["jpeg-turbo"])]),
    .target(
      name: "CMedia", dependencies: ["CFFmpeg", "CJPEG"],
      linkerSettings: [.linkedLibrary("jpeg"), .linkedLibrary("avformat"), .linkedLibrary("avutil")]),
    .target(name: "Media", dependencies: ["Basics", "CMedia", "CFFmpeg"]),
    // Embedded: a bundle of resources stays behind when a binary is carried to another machine, and the first use of it ends the
    // process.
    .target(
      name: "PromptCleaning", dependencies: ["Basics"],
      resources: [.embedInCode("Tables/encodings.txt"), .embedInCode("Tables/html-entities.txt")]),
    .target(name: "TextTokenizer", dependencies: ["Basics"]),
    .target(name: "Models", dependencies: ["Basics", "NN", "Torch"]),
    .target(
      name: "Generation",
      dependencies: ["Basics", "Distributed", "Models", "NN", "PromptCleaning", "Torch", "TextTokenizer"]),
    .systemLibrary(
      name: "CCairo", pkgConfig: "cairo", providers: [.apt(["libcairo2-dev"]), .brew(["cairo"])]),
    .systemLibrary(
      name: "CESpeak", pkgConfig: "espeak-ng", providers: [.apt(["libespeak-ng-dev"]), .brew(["espeak-ng"])]),
    .systemLibrary(
      name: "CGLib", pkgConfig: "glib-2.0", providers: [.apt(["libgstreamer1.0-dev"]), .brew(["gstreamer"])]),
    .target(name: "CGStreamer", dependencies: ["CGLib"], cSettings: gstreamerHeaders),
    .target(name: "WebRTC", dependencies: ["CGStreamer"]),
    .target(name: "Session", dependencies: ["Basics"]),
    .target(name: "Engine", dependencies: ["Basics", "Session", "Generation", "Media", "Models", "Torch"]),
    .target(
      name: "WebSocketClient",
      dependencies: [
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOWebSocket", package: "swift-nio"),
      ]),
    .target(
      name: "LiveKit",
      dependencies: [
        "Session", "WebRTC", "WebSocketClient", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ], exclude: ["livekit.proto"]),
    .target(
      name: "Dialogue",
      dependencies: [
        "Basics", "Media", "Session", "WebSocketClient",
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "Subprocess", package: "swift-subprocess"),
      ]),
    .target(name: "SyntheticSpeaker", dependencies: ["Basics", "Media", "CCairo", "CESpeak"]),
    .target(name: "ClipShards", dependencies: ["Basics", "Torch"]),
    .target(name: "Datasets", dependencies: ["Basics", "ClipShards", "Generation", "Media", "Models", "NN", "Torch"]),
    .target(
      name: "Training",
      dependencies: [
        "Basics", "ClipShards", "Distributed", "Generation", "Models", "NN", "Torch",
        .product(name: "Yams", package: "Yams"),
      ]),
    .target(name: "Evaluation", dependencies: ["Models", "NN", "Torch"]),
    .target(
      name: "Parity",
      dependencies: ["Basics", "Training", "Generation", "Models", "NN", "Torch", "PromptCleaning", "TextTokenizer"]),
    .target(
      name: "ComputeCommands",
      dependencies: [
        "Basics", "Distributed", "Parity", "Training", "Generation", "Models", "NN", "Torch",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .target(
      name: "Server",
      dependencies: [
        "Basics", "LiveKit", "Media", "Session", "WebRTC",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "CryptoExtras", package: "swift-crypto"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Metrics", package: "swift-metrics"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
        .product(name: "NIOWebSocket", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      // One binary carries the page.
      resources: [
        .embedInCode("Web/index.html"), .embedInCode("Web/app.css"), .embedInCode("Web/app.js"),
        .embedInCode("Web/captions.js"), .embedInCode("Web/stream.js"), .embedInCode("Web/webrtc.js"),
        .embedInCode("Web/player-worklet.js"),
        .embedInCode("Web/microphone-worklet.js"),
        .embedInCode("Web/openapi.json"),
      ]),
    .executableTarget(
      name: "livetalk",
      dependencies: [
        "Basics", "ComputeCommands", "Dialogue", "Distributed", "Engine", "LiveKit", "Server", "Session", "WebRTC",
        "Parity",
        "Evaluation",
        "Datasets", "SyntheticSpeaker", "Training", "ClipShards",
        "Media",
        "Generation", "Models",
        "Torch",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ]),
    .executableTarget(
      name: "livetalk-compute",
      dependencies: [
        "ComputeCommands", "Torch", "Training", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    // Damaged files for everything that reads what users bring.
    .executableTarget(
      name: "fuzz",
      dependencies: [
        "Basics", "ClipShards", "Datasets", "Dialogue", "Generation", "Media", "Models", "PromptCleaning", "Session",
        "TextTokenizer", "Torch", "Training", "WebRTC",
      ], path: "Tests/Fuzz", exclude: ["Corpus"]),
    // Programs beside the tests of connections.
    .target(name: "TestClients", path: "Tests/TestClients"),
    .testTarget(name: "WebRTCTests", dependencies: ["TestClients", "WebRTC"], exclude: ["Clients"]),
    .testTarget(name: "BasicsTests", dependencies: ["Basics"]),
    .testTarget(name: "TorchTests", dependencies: ["Basics", "Torch"]),
    .testTarget(name: "NNTests", dependencies: ["Basics", "NN", "Torch"]),
    .testTarget(name: "MediaTests", dependencies: ["Basics", "Media"], exclude: ["Fixtures", "make_fixtures.py"]),
    .testTarget(
      name: "PromptCleaningTests", dependencies: ["Basics", "PromptCleaning"], exclude: ["Fixtures"]),
    .testTarget(name: "TextTokenizerTests", dependencies: ["TextTokenizer"], exclude: ["Fixtures"]),
    .testTarget(name: "ModelsTests", dependencies: ["Basics", "Models", "NN", "Torch"]),
    .testTarget(name: "GenerationTests", dependencies: ["Basics", "Generation", "Models", "NN", "Torch"]),
    .testTarget(
      name: "DialogueTests",
      dependencies: [
        "Basics", "Dialogue", "Session",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOWebSocket", package: "swift-nio"),
      ]),
    // An engine that computes nothing, for what stands above an engine; and the server over it as a program.
    .target(name: "MockEngine", dependencies: ["Basics", "Session"], path: "Tests/MockEngine"),
    .executableTarget(
      name: "server-probe",
      dependencies: ["MockEngine", "Server", "Session", .product(name: "Logging", package: "swift-log")],
      path: "Tests/ServerProbe"),
    .testTarget(
      name: "ServerTests",
      dependencies: [
        "Basics", "LiveKit", "MockEngine", "Server", "Session", "Media", "TestClients", "WebRTC",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Metrics", package: "swift-metrics"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ], exclude: ["Clients", "Fixtures"]),
    .testTarget(name: "LiveKitTests", dependencies: ["LiveKit", "Session"], exclude: ["Fixtures"]),
    .testTarget(name: "SessionTests", dependencies: ["Basics", "MockEngine", "Session"]),
    .testTarget(
      name: "EngineTests", dependencies: ["Basics", "Engine", "Session", "Generation", "Media", "Models", "Torch"]),
    .testTarget(
      name: "EvaluationTests", dependencies: ["Evaluation", "Models", "NN", "Torch"]),
    .testTarget(
      name: "SyntheticSpeakerTests", dependencies: ["Basics", "SyntheticSpeaker", "Media"], exclude: ["Fixtures"]),
    .testTarget(
      name: "DatasetsTests",
      dependencies: ["Basics", "Datasets", "ClipShards", "Media", "Generation", "Models", "NN", "Torch"]),
    .testTarget(
      name: "TrainingTests", dependencies: ["Basics", "Training", "ClipShards", "Generation", "Models", "NN", "Torch"]),
    // One rank of the tests of process groups, which need processes of their own.
    .executableTarget(
      name: "distributed-probe",
      dependencies: ["Basics", "Distributed", "Engine", "Generation", "Models", "NN", "Session", "Torch", "Training"],
      path: "Tests/DistributedProbe"),
    .testTarget(
      name: "DistributedTests", dependencies: ["distributed-probe", "Distributed", "Generation", "Training", "Torch"]),
    .testTarget(
      name: "ParityTests", dependencies: ["Basics", "Parity", "Media", "Generation", "Models", "NN", "Torch"]),
    .testTarget(
      name: "CommandLineTests",
      dependencies: [
        "Basics", "livetalk", "livetalk-compute", "ClipShards", "Media", "Generation", "Models", "NN", "Torch",
      ]),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx20
)

#if os(Linux)
  if !hasCUDA {
    // A GPU that is not there, to be loaded into the programs by their tests.
    package.products.append(.library(name: "FakeGPU", type: .dynamic, targets: ["FakeGPU"]))
    package.targets.append(
      .target(
        name: "FakeGPU", path: "Tests/FakeGPU", publicHeadersPath: ".", cxxSettings: torchHeaders,
        linkerSettings: torchLinking))
  }
#endif

// Of our own targets only: warnings are errors, and what a file uses it imports, for itself unless it says otherwise.
for target in package.targets where target.type != .system {
  target.swiftSettings = [
    .treatAllWarnings(as: .error), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
  ]
}
