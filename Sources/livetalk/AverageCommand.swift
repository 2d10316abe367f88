import ArgumentParser
import Basics
import ComputeCommands
import Foundation
import Generation
import Torch
import Training

/// `livetalk checkpoint average`.
struct AverageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "average",
    abstract: "Average the transformers, or the autoencoders, of several checkpoint folders.",
    discussion: """
      The mean of the weights of models that were trained on from the same weights is often better than each of them (model \
      soups, Wortsman et al. 2022). All other parts are those of the first folder, whose files are linked.

      EXAMPLE
        livetalk checkpoint average runs/dmd-a/final runs/dmd-b/final --out runs/mean
        livetalk checkpoint average runs/mean runs/vae/final --part vae --out runs/model
      """)

  /// What can be averaged.
  enum Part: String, CaseIterable, ExpressibleByArgument {
    case transformer, vae

    var file: CheckpointFolder.Part { self == .transformer ? .transformer : .vae }
  }

  @Argument(help: ArgumentHelp("The checkpoint folders, two or more.", valueName: "dir"))
  var folders: [String]

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The folder to make.", valueName: "dir"))
  var out: String

  @Option(help: ArgumentHelp("What is averaged: transformer or vae.", valueName: "part"))
  var part = Part.transformer

  func validate() throws {
    guard folders.count > 1 else { throw ValidationError("Give two folders or more.") }
  }

  func run() throws {
    let sources = try folders.map { try CheckpointFolder(URL(fileURLWithPath: $0)) }
    guard sources.allSatisfy({ $0.family.kind == .liveTalk }) else {
      throw LiveTalkError(
        "What is trained of Live Avatar are adapters, and the mean of their factors is no mean of models.")
    }
    let weights = try sources.map { try $0.weights(part.file) }
    for (other, source) in zip(weights, sources).dropFirst() {
      guard other.mapValues(\.shape) == weights[0].mapValues(\.shape) else {
        throw FileError(
          try source.require(part.file),
          "it is a model of another size than that of \(folders[0]): average equal ones")
      }
    }
    guard !FileManager.default.fileExists(atPath: out) else { throw LiveTalkError("\(out) is there already.") }
    let made = try PartialFolder(linkTarget(URL(fileURLWithPath: out)))
    let partial = made.url
    Interruption.onStop { try? FileManager.default.removeItem(at: partial) }
    defer { made.discard() }
    try CheckpointCompletion.link(URL(fileURLWithPath: folders[0]), to: partial, without: [part.file])
    // The published autoencoder is a .pth file.
    let place = sources[0].family.place(of: part.file, in: partial).deletingPathExtension()
      .appendingPathExtension("safetensors")
    try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
    let layout = weights[0].sorted { $0.key < $1.key }.map { ($0.key, $0.value.dtype, $0.value.shape) }
    try writeSafetensors(layout, metadata: ["format": "pt"], to: place) { name in
      Self.mean(weights.compactMap { $0[name] })
    }
    var settings = sources[0].settings
    settings.provenance = "the mean of the \(part.file.title)s of \(folders.joined(separator: " and "))"
    try settings.write(to: partial)
    _ = try CheckpointFolder(partial)
    try made.commit()
    Interruption.forget()
    Terminal.line("\(out): the mean of \(folders.count) \(part.file.title)s, from \(folders.joined(separator: ", ")).")
  }

  /// In fp32, rounded once to the type of the first.
  private static func mean(_ tensors: [Tensor]) -> Tensor {
    let sum = tensors.dropFirst().reduce(tensors[0].to(.float32)) { $0 + $1.to(.float32) }
    return (sum / Double(tensors.count)).to(tensors[0].dtype)
  }
}
