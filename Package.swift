// swift-tools-version: 6.1
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
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
  ],
  targets: [
    .target(
      name: "CTorch", cxxSettings: [.headerSearchPath("Gloo")] + torchHeaders + cudaHeaders,
      linkerSettings: torchLinking),
    .target(name: "Torch", dependencies: ["CTorch"]),
    .target(name: "Distributed", dependencies: ["CTorch", "Torch"]),
    .target(name: "NN", dependencies: ["Distributed", "Torch"]),
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
    .target(name: "Media", dependencies: ["CMedia", "CFFmpeg"]),
    .target(name: "TextTokenizer"),
    .target(name: "Models", dependencies: ["NN", "Torch"]),
    .target(name: "Generation", dependencies: ["Models", "NN", "Torch", "TextTokenizer"]),
    .systemLibrary(
      name: "CCairo", pkgConfig: "cairo", providers: [.apt(["libcairo2-dev"]), .brew(["cairo"])]),
    .systemLibrary(
      name: "CESpeak", pkgConfig: "espeak-ng", providers: [.apt(["libespeak-ng-dev"]), .brew(["espeak-ng"])]),
    .target(name: "SyntheticSpeaker", dependencies: ["Media", "CCairo", "CESpeak"]),
    .target(name: "ClipShards", dependencies: ["Torch"]),
    .target(name: "Datasets", dependencies: ["ClipShards", "Generation", "Media", "Models", "NN", "Torch"]),
    .target(
      name: "Training",
      dependencies: [
        "ClipShards", "Distributed", "Generation", "Models", "NN", "Torch", .product(name: "Yams", package: "Yams"),
      ]),
    .target(name: "Evaluation", dependencies: ["Models", "NN", "Torch"]),
    .target(
      name: "Parity", dependencies: ["Training", "Generation", "Models", "NN", "Torch", "TextTokenizer"]),
    .target(
      name: "ComputeCommands",
      dependencies: [
        "Parity", "Training", "ClipShards", "Generation", "Models", "NN", "Torch",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .executableTarget(
      name: "livetalk",
      dependencies: [
        "ComputeCommands", "Evaluation", "Datasets", "SyntheticSpeaker", "Training", "ClipShards", "Media",
        "Generation", "Models",
        "Torch",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .executableTarget(
      name: "livetalk-compute",
      dependencies: ["ComputeCommands", "Torch", .product(name: "ArgumentParser", package: "swift-argument-parser")]),
    .testTarget(name: "TorchTests", dependencies: ["Torch"]),
    .testTarget(name: "NNTests", dependencies: ["NN", "Torch"]),
    .testTarget(name: "MediaTests", dependencies: ["Media"], exclude: ["Fixtures", "make_fixtures.py"]),
    .testTarget(name: "TextTokenizerTests", dependencies: ["TextTokenizer"], exclude: ["Fixtures"]),
    .testTarget(name: "ModelsTests", dependencies: ["Models", "NN", "Torch"]),
    .testTarget(name: "GenerationTests", dependencies: ["Generation", "Models", "NN", "Torch"]),
    .testTarget(
      name: "EvaluationTests", dependencies: ["Evaluation", "Models", "NN", "Torch"]),
    .testTarget(name: "SyntheticSpeakerTests", dependencies: ["SyntheticSpeaker", "Media"]),
    .testTarget(
      name: "DatasetsTests", dependencies: ["Datasets", "ClipShards", "Media", "Generation", "Models", "NN", "Torch"]),
    .testTarget(
      name: "TrainingTests", dependencies: ["Training", "ClipShards", "Generation", "Models", "NN", "Torch"]),
    // One rank of the tests of process groups, which need processes of their own.
    .executableTarget(
      name: "distributed-probe", dependencies: ["Distributed", "Training", "NN", "Torch"],
      path: "Tests/DistributedProbe"),
    .testTarget(name: "DistributedTests", dependencies: ["distributed-probe", "Distributed", "Training", "Torch"]),
    .testTarget(name: "ParityTests", dependencies: ["Parity", "Media", "Generation", "Models", "NN", "Torch"]),
    .testTarget(
      name: "CommandLineTests",
      dependencies: [
        "livetalk", "livetalk-compute", "ClipShards", "Media", "Generation", "Models", "NN", "Torch",
      ]),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx20
)
