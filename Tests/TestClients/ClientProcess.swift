package import Foundation

/// What the tests' other clients are run with.
package enum TestClients {
  package static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  /// The Python of the tests' environment, which `scripts/setup tests` makes.
  package static let python = tests.deletingLastPathComponent().appendingPathComponent(".venv-tests/bin/python").path
  package static let areThere = FileManager.default.isExecutableFile(atPath: python)
  package static let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }
}

/// A program beside the tests that prints lines of JSON, and reads some: a client or a server that is not ours.
package final class ClientProcess: Sendable {
  package struct Ended: Error, CustomStringConvertible {
    package let description = "The program beside the test has ended."
  }

  private let process = Process()
  private let input = Pipe()
  private let lines: AsyncStream<String>

  package init(_ program: String, _ arguments: [String]) throws {
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardInput = input
    let output = Pipe()
    process.standardOutput = output
    let (lines, continuation) = AsyncStream<String>.makeStream()
    self.lines = lines
    let handle = output.fileHandleForReading
    let thread = Thread {
      var rest = Data()
      while true {
        let data = handle.availableData
        guard !data.isEmpty else { break }
        rest += data
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
          continuation.yield(String(decoding: rest[rest.startIndex..<end], as: UTF8.self))
          rest = Data(rest[(end + 1)...])
        }
      }
      continuation.finish()
    }
    try process.run()
    thread.start()
  }

  deinit { send(SIGTERM) }

  /// Sends a signal, if it runs still.
  package func send(_ signal: Int32) { if process.isRunning { kill(process.processIdentifier, signal) } }

  /// The next line, decoded.
  package func next<Value: Decodable>(_ type: Value.Type) async throws -> Value {
    for await line in lines { return try JSONDecoder().decode(type, from: Data(line.utf8)) }
    throw Ended()
  }

  /// Writes a line.
  package func write(_ value: some Encodable) throws {
    try input.fileHandleForWriting.write(contentsOf: JSONEncoder().encode(value) + Data("\n".utf8))
  }
}
