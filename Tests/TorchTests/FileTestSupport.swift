import Basics
import Foundation
import Testing

@testable import Torch

/// A directory that is removed when the test ends.
final class TemporaryFolder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("torch-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func file(_ name: String, _ bytes: [UInt8] = []) throws -> URL {
    let file = url.appendingPathComponent(name)
    try Data(bytes).write(to: file)
    return file
  }

  subscript(name: String) -> URL { url.appendingPathComponent(name) }
}

/// What reading a file fails with.
func refusal(_ url: URL, sourceLocation: SourceLocation = #_sourceLocation) -> String {
  do {
    _ = try readWeights(url)
    Issue.record("the file was read", sourceLocation: sourceLocation)
    return ""
  } catch let error as FileError {
    return error.reason
  } catch {
    Issue.record("\(error) is no FileError", sourceLocation: sourceLocation)
    return ""
  }
}

/// One tensor of each element type, with values that all of them hold.
func tensorsOfEveryType() -> [String: Tensor] {
  Dictionary(
    uniqueKeysWithValues: DType.allCases.map {
      ("\($0)", Tensor([0, 1, 1, 0, 1, 0] as [Float], [2, 3]).to(.cpu, $0))
    })
}

func sameBytes(_ a: Tensor?, _ b: Tensor) -> Bool {
  guard let a else { return false }
  return a.shape == b.shape && a.dtype == b.dtype && a.bytes() == b.bytes()
}

/// Whether this process has a mapping of the file, deleted or not.
func isMapped(_ url: URL) throws -> Bool {
  let maps = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/proc/self/maps"))
  // The system gives the list page by page.
  var text = Data()
  while let part = try maps.read(upToCount: 1 << 16), !part.isEmpty { text.append(part) }
  return String(decoding: text, as: UTF8.self).contains(url.path)
}
