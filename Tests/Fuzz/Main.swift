import Foundation

/// Gives damaged files to everything that reads what users bring: `fuzz --seconds 60`. It fails where a reader crashes, hangs, takes more
/// than 2 GB, or tells its user something in a library's words.
@main
struct Fuzz {
  static func main() {
    do {
      let options = try Options(Array(CommandLine.arguments.dropFirst()))
      switch options.task {
      case .campaign: exit(try Campaign(options).run() ? 0 : 1)
      case .batch: try Batch(options).run()
      case .replay(let file): try Batch(options).replay(file)
      }
    } catch {
      FileHandle.standardError.write(Data("fuzz: \(error)\n".utf8))
      exit(64)
    }
  }
}

/// The command line.
struct Options {
  enum Task { case campaign, batch, replay(String) }

  struct Mistake: Error, CustomStringConvertible { let description: String }

  var task = Task.campaign
  var seconds = 20.0
  var seed: UInt64 = 1
  /// Names of readers; empty for all.
  var readers: [String] = []
  /// Where files that fail go.
  var out = "fuzz-failures"
  /// Of a batch: its folder, and the number of its first execution.
  var folder = ""
  var first = 0

  init(_ words: [String]) throws {
    var words = words[...]
    while let word = words.popFirst() {
      guard let value = words.popFirst() else { throw Mistake(description: "\(word) needs a value.") }
      switch word {
      case "--seconds": seconds = try Options.number(word, value)
      case "--seed": seed = try Options.number(word, value)
      case "--reader":
        guard Reader.all.contains(where: { $0.name == value }) else {
          throw Mistake(
            description: "There is no reader \(value); there are \(Reader.all.map(\.name).joined(separator: ", ")).")
        }
        readers.append(value)
      case "--out": out = value
      case "--batch": (task, folder) = (.batch, value)
      case "--first": first = try Options.number(word, value)
      case "--replay": task = .replay(value)
      default:
        throw Mistake(description: "There is no option \(word): --seconds, --seed, --reader, --out, --replay FILE.")
      }
    }
  }

  private static func number<Number: LosslessStringConvertible>(_ word: String, _ value: String) throws -> Number {
    guard let number = Number(value) else { throw Mistake(description: "\(word) is a number, not \(value).") }
    return number
  }
}
