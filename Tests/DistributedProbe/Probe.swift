import Distributed
import Foundation
import NN
import Torch
import Training

// One rank of the tests of process groups: what it finds goes to standard output as lines.

/// A small model, the same on every rank. No rank has a gradient for one parameter, and only the last rank for the first one, which
/// is in the share of rank 0.
struct ProbeModel {
  let first: Tensor  // [16, 8]
  let second: Tensor  // [4, 16]
  let unused = Tensor.ones([3])
  let seldom = Tensor.ones([5])
  var parameters: [(name: String, tensor: Tensor)] {
    [("seldom", seldom), ("first", first), ("unused", unused), ("second", second)]
  }

  init(_ dtype: DType = .float32) {
    let generator = RandomGenerator(seed: 11)
    first = generator.normal([16, 8]).to(dtype)
    second = generator.normal([4, 16]).to(dtype)
  }

  /// The mean loss of rows of the step's batch of 8.
  func loss(_ step: Int, rows: Range<Int>) -> Tensor {
    let generator = RandomGenerator(seed: UInt64(1000 + step))
    let (x, y) = (generator.normal([8, 8]), generator.normal([8, 4]))
    let part = { (t: Tensor) in t.narrow(0, rows.lowerBound, rows.count) }
    let hidden = part(x).to(first.dtype).linear(first, nil).tanh()
    var loss = (hidden.linear(second, nil).to(.float32) - part(y)).square().mean()
    // As often as there are ranks, so that their mean holds it once.
    if rows.upperBound == 8 { loss = loss + seldom.sum().square() * (0.01 * 8 / Double(rows.count)) }
    return loss
  }
}

struct Counters: Codable {
  var step: Int
  var rank: Int
}

@main
struct Probe {
  static func main() async {
    endWithParent()
    let arguments = CommandLine.arguments.dropFirst()
    do {
      guard let mode = arguments.first else { throw TorchError("usage: distributed-probe mode …") }
      Torch.threads = 1
      try await run(mode, Array(arguments.dropFirst()))
    } catch {
      FileHandle.standardError.write(Data("Error: \(error)\n".utf8))
      exit(1)
    }
  }

  /// A rank whose test runner was killed would wait for the other ranks for ever, on a whole core.
  static func endWithParent() {
    let parent = getppid()
    Thread.detachNewThread {
      while getppid() == parent { Thread.sleep(forTimeInterval: 1) }
      _exit(1)
    }
  }

  /// What goes on until it is stopped waits a little each time: it would take the processors of all other tests.
  static func pause() {
    guard let pause = ProcessInfo.processInfo.environment["PROBE_PAUSE"].flatMap(Double.init) else { return }
    Thread.sleep(forTimeInterval: pause / 1000)
  }

  static func block(for seconds: Double) { Thread.sleep(forTimeInterval: seconds) }

  static func say(_ line: String) { FileHandle.standardOutput.write(Data("\(line)\n".utf8)) }

  static func run(_ mode: String, _ arguments: [String]) async throws {
    let launch = try LaunchEnvironment.read()
    let meeting = Duration.seconds(ProcessInfo.processInfo.environment["PROBE_MEETING"].flatMap(Int.init) ?? 60)
    let seconds = ProcessInfo.processInfo.environment["PROBE_TIMEOUT"].flatMap(Int.init) ?? 600
    // As for serving: without a deadline.
    let timeout = seconds == 0 ? nil : Duration.seconds(seconds)
    let group = try launch.map { try ProcessGroup($0, device: .cpu, meeting: meeting, timeout: timeout) }
    switch mode {
    case "collectives": try collectives(group)
    case "transfers": try transfers(group)
    case "pipeline": try pipeline(group)
    case "one-sided":
      // Rank 0 waits for a tensor that rank 1 never sends, or for a rank 1 that never takes the one it is sent.
      guard let group, let way = arguments.first else {
        throw TorchError("usage: distributed-probe one-sided send|receive")
      }
      try group.barrier()
      say("ready")
      if group.rank == 1 { block(for: 120) }
      let tensor = Tensor.zeros([4])
      if way == "send" { try group.send(tensor, to: 1) } else { try group.receive(into: tensor, from: 1) }
    case "train": try train(arguments, group)
    case "avatar": try avatar(arguments, group)
    case "live": try await live(arguments, group)
    case "memory": try memory(arguments)
    case "sharded": try sharded(group)
    case "busy":
      // Far longer than a rank may be silent, without an operation of the group.
      if group?.rank == 1 { block(for: 18) }
      try group?.barrier()
      say("together")
    case "fail":
      if group?.rank == 1 {
        group?.leave(failure: "the loss is not finite")
        return
      }
      try group?.barrier()
    default: throw TorchError("There is no mode \(mode).")
    }
    group?.leave()
  }

  static func collectives(_ group: ProcessGroup?) throws {
    guard let group else { throw TorchError("There is no group.") }
    let (rank, size) = (group.rank, group.size)
    func show(_ name: String, _ tensor: Tensor) { say("\(name) \(tensor.dtype) \(tensor.array(Double.self))") }
    for dtype in [DType.float32, .bfloat16, .int64, .float64] {
      let own = Tensor((0..<4).map { Double($0 + 10 * (rank + 1)) }).to(dtype)
      func fresh() -> Tensor { own.clone() }
      let (sum, max, parts, root) = (fresh(), fresh(), fresh(), fresh())
      try group.allReduce(sum)
      show("sum", sum)
      try group.allReduce(max, .max)
      show("max", max)
      show("scattered", try group.reduceScatter(parts))
      let whole = Tensor.zeros([2 * size], dtype)
      whole.narrow(0, 2 * rank, 2).copy_(own.narrow(0, 0, 2))
      try group.allGather(whole)
      show("gathered", whole)
      try group.broadcast(root, from: size - 1)
      show("broadcast", root)
      guard dtype.isFloatingPoint else { continue }
      let (mean, meanParts) = (fresh(), fresh())
      try group.allReduce(mean, .mean)
      show("mean", mean)
      show("scattered mean", try group.reduceScatter(meanParts, .mean))
    }
    say("any \(try group.any(rank == 1)) \(try group.any(false))")
    for tensor in [Tensor.ones([2, 2]).transpose(0, 1), Tensor.ones([4], .int64)] {
      do { try group.allReduce(tensor, .mean) } catch { say("\(error)") }
    }
    try group.barrier()
  }

  static func transfers(_ group: ProcessGroup?) throws {
    guard let group else { throw TorchError("There is no group.") }
    let other = 1 - group.rank
    func show(_ name: String, _ tensor: Tensor) { say("\(name) \(tensor.dtype) \(tensor.array(Double.self))") }
    for dtype in [DType.float32, .bfloat16, .int64] {
      let own = Tensor([Double(group.rank), 2, 3]).to(dtype)
      // One way, waiting.
      let taken = Tensor.zeros([3], dtype)
      if group.rank == 0 { try group.send(own, to: 1) } else { try group.receive(into: taken, from: 0) }
      show("one way", taken)
      // Both ways at once.
      let exchanged = Tensor.zeros([3], dtype)
      let sending = try group.startSend(own, to: other)
      try group.receive(into: exchanged, from: other)
      try sending.wait()
      show("exchanged", exchanged)
    }
    // Tags pick the message, in whatever order they were sent; a part of a tensor is received in its place.
    let parts = Tensor.zeros([2, 2])
    if group.rank == 0 {
      let sent = try [7, 8].map { try group.startSend(Tensor([Float($0), Float($0)]), to: 1, tag: $0) }
      for transfer in sent { try transfer.wait() }
    } else {
      try group.receive(into: parts.select(0, 0), from: 0, tag: 8)
      try group.receive(into: parts.select(0, 1), from: 0, tag: 7)
    }
    show("by tag", parts)
    // More than what the sockets hold on the way.
    let large = group.rank == 0 ? RandomGenerator(seed: 5).normal([3_000_000]) : Tensor.zeros([3_000_000])
    if group.rank == 0 { try group.send(large, to: 1) } else { try group.receive(into: large, from: 0) }
    say("large \(large.equals(RandomGenerator(seed: 5).normal([3_000_000])))")
    let refused: [(Tensor, Int, Int)] = [
      (Tensor.ones([2]), 2, 0), (Tensor.ones([2]), group.rank, 0), (Tensor.ones([2]), other, -1),
      (Tensor.ones([2, 2]).transpose(0, 1), other, 0),
    ]
    for (tensor, rank, tag) in refused {
      do { try group.send(tensor, to: rank, tag: tag) } catch { say("\(error)") }
    }
  }

  /// Each rank adds its number to what comes from the rank before it; the last one's results go round to the first.
  static func pipeline(_ group: ProcessGroup?) throws {
    guard let group else { throw TorchError("There is no group.") }
    let (rank, size) = (group.rank, group.size)
    var results: [Double] = []
    for block in 0..<5 {
      let value = Tensor.full([4], Double(100 * block))
      if rank > 0 { try group.receive(into: value, from: rank - 1, tag: block) }
      value.add_(Double(rank + 1))
      try group.send(value, to: (rank + 1) % size, tag: block)
      if rank == 0 {
        try group.receive(into: value, from: size - 1, tag: block)
        results.append(value.sum().item)
      }
    }
    if rank == 0 { say("results \(results)") }
  }

  /// Arguments: folder of checkpoints, last step, steps between checkpoints, type of the parameters. Goes on from the newest one.
  static func train(_ arguments: [String], _ group: ProcessGroup?) throws {
    guard arguments.count == 4, let last = Int(arguments[1]), let interval = Int(arguments[2]) else {
      throw TorchError("usage: distributed-probe train folder steps interval type")
    }
    let (rank, size) = (group?.rank ?? 0, group?.size ?? 1)
    let model = ProbeModel(arguments[3] == "bfloat16" ? .bfloat16 : .float32)
    let optimizer = try ShardedOptimizer(
      model.parameters, averaging: MovingAverage(weight: 0.9, start: 2), group: group)
    let folders = CheckpointFolders(URL(fileURLWithPath: arguments[0]), keeping: 2, group: group)
    var start = 0
    if let checkpoint = try folders.newest(report: { say("report \($0)") }) {
      try optimizer.load(checkpoint.shards("optimizer"))
      let counters = try checkpoint.state(Counters.self, rank: rank, of: size)
      start = counters.step
      if checkpoint.ranks == size, counters.rank != rank { throw TorchError("Rank \(rank) has another one's state.") }
      say("resumed \(start)")
    }
    let rows = 8 * rank / size..<8 * (rank + 1) / size
    for step in start..<last {
      pause()
      let loss = model.loss(step, rows: rows)
      loss.backward()
      optimizer.accumulate()
      let norm = try optimizer.step(learningRate: 0.02, clippingTo: 1)
      optimizer.startAverage(counter: step)
      let mean = loss.detach().clone()
      try group?.allReduce(mean, .mean)
      say("loss \(mean.item) norm \(norm)")
      if (step + 1) % interval == 0 {
        let averages = try optimizer.averages() ?? []
        try folders.save(
          step: step + 1, state: Counters(step: step + 1, rank: rank),
          [
            TensorFile("student", model.parameters.map { ($0.name, $0.tensor.detach()) }),
            TensorFile("average", averages),
            TensorFile(
              "optimizer", optimizer.state().sorted { $0.key < $1.key }.map { ($0.key, $0.value) },
              metadata: optimizer.stateMetadata, isShard: true),
          ])
        say("saved \(step + 1)")
      }
    }
    for (name, tensor) in model.parameters { say("parameter \(name) \(tensor.detach().array(Double.self))") }
    for (name, tensor) in try optimizer.averages() ?? [] { say("average \(name) \(tensor.array(Double.self))") }
  }
}
