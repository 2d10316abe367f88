import Foundation
import Synchronization
import Testing

/// The processes of one run of `distributed-probe`.
// Unchecked for the processes, which are only asked and waited for.
final class Ranks: @unchecked Sendable {
  struct Ended {
    let status: Int32
    let lines: [String]
    let error: String
  }

  let folder: URL
  let processes: [Process]

  /// Starts one process for each rank; one of size 1 is started alone, without an environment.
  ///
  /// - Parameter fileLimit: the kilobytes that a file of theirs may have; more is a failure to write, as on a full disk.
  init(_ size: Int, _ arguments: [String], environment: [String: String] = [:], fileLimit: Int? = nil) throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("ranks-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let port = try Ranks.freePort()
    var processes: [Process] = []
    for rank in 0..<size {
      let process = Process()
      if let fileLimit {
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        let line = "trap '' XFSZ; ulimit -f \(fileLimit); exec \"$0\" \"$@\""
        process.arguments = ["-c", line, try Ranks.executable().path] + arguments
      } else {
        process.executableURL = try Ranks.executable()
        process.arguments = arguments
      }
      process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
      if size > 1 {
        process.environment?.merge([
          "RANK": "\(rank)", "WORLD_SIZE": "\(size)", "LOCAL_RANK": "\(rank)", "MASTER_ADDR": "127.0.0.1",
          "MASTER_PORT": "\(port)",
        ]) { $1 }
      }
      process.environment?["OMP_NUM_THREADS"] = "1"
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = try Ranks.handle(folder, "output\(rank)")
      process.standardError = try Ranks.handle(folder, "error\(rank)")
      try process.run()
      processes.append(process)
    }
    self.processes = processes
  }

  deinit {
    for process in processes where process.isRunning { kill(process.processIdentifier, SIGKILL) }
    try? FileManager.default.removeItem(at: folder)
  }

  private static func handle(_ folder: URL, _ name: String) throws -> FileHandle {
    let url = folder.appendingPathComponent(name)
    try Data().write(to: url)
    return try FileHandle(forWritingTo: url)
  }

  /// What a rank has written so far.
  func lines(_ rank: Int) -> [String] {
    let data = (try? Data(contentsOf: folder.appendingPathComponent("output\(rank)"))) ?? Data()
    return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  /// Waits until a rank has written a line that begins so.
  func await(_ rank: Int, _ beginning: String, within seconds: Double = 60) async throws {
    for _ in 0..<Int(seconds * 20) {
      if lines(rank).contains(where: { $0.hasPrefix(beginning) }) { return }
      try await Task.sleep(for: .milliseconds(50))
    }
    Issue.record("rank \(rank) did not write '\(beginning)' within \(seconds) s: \(ended(rank))")
  }

  /// Waits until a rank has ended; nil if it does not within that time.
  func end(_ rank: Int, within seconds: Double = 120) async throws -> Ended? {
    for _ in 0..<Int(seconds * 20) {
      if !processes[rank].isRunning { return ended(rank) }
      try await Task.sleep(for: .milliseconds(50))
    }
    return nil
  }

  /// Waits for all ranks, and expects that none has failed.
  func succeed() async throws -> [[String]] {
    var lines: [[String]] = []
    for rank in processes.indices {
      let ended = try #require(try await end(rank), "rank \(rank) does not end")
      #expect(ended.status == 0, "rank \(rank): \(ended.error)")
      lines.append(ended.lines)
    }
    return lines
  }

  private func ended(_ rank: Int) -> Ended {
    let process = processes[rank]
    let error = (try? Data(contentsOf: folder.appendingPathComponent("error\(rank)"))) ?? Data()
    return Ended(
      status: process.isRunning ? -1 : process.terminationStatus, lines: lines(rank),
      error: String(decoding: error, as: UTF8.self))
  }

  private static func executable() throws -> URL {
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
      .standardized
    let places =
      [URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()]
      + Bundle.allBundles.filter { $0.bundlePath.hasSuffix(".xctest") }.map { $0.bundleURL.deletingLastPathComponent() }
      + [package.appendingPathComponent(".build/debug"), package.appendingPathComponent(".build/release")]
    let found = places.map { $0.appendingPathComponent("distributed-probe") }.first {
      FileManager.default.isExecutableFile(atPath: $0.path)
    }
    return try #require(found, "distributed-probe is in none of \(places.map(\.path))")
  }

  /// The port after the last one that was given; from a place of its own in each run.
  private static let nextPort = Mutex(Int.random(in: 10_000..<25_000))

  /// A port that nobody listens at, and that no other group of this run gets. It lies below those that the system gives to connections: a
  /// free one among these may be taken by the time that rank 0 listens at it.
  private static func freePort() throws -> Int {
    try nextPort.withLock { next in
      let free = (next + 1...next + 1000).first(where: isFree)
      next = try #require(free, "no port is free from \(next) on")
      return next
    }
  }

  private static func isFree(_ port: Int) -> Bool {
    #if canImport(Glibc)
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #else
      let descriptor = socket(AF_INET, SOCK_STREAM, 0)
    #endif
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    address.sin_port = in_port_t(port).bigEndian
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(descriptor, address, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}

/// A folder that is removed with its owner.
final class Place: Sendable {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("distributed-\(UUID().uuidString)")

  init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(at: url) }

  var content: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []).sorted() }
}
