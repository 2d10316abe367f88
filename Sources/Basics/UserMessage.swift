import Foundation

/// An error whose description is a sentence for the user. All others are told in words of ours by `userSentence`.
package protocol SentenceError: Error, CustomStringConvertible {
  /// Its description, unless that is for programmers.
  var sentence: String { get }
}

extension SentenceError {
  package var sentence: String { description }
}

/// What a user is told of any error: one line with what is wrong, shortened where a value or a list in it is long.
///
/// The errors of Swift and Foundation describe themselves for programmers; here they become the key or the file they are about.
package func userSentence(_ error: any Error) -> String { userLine(words(of: error)) }

/// The first paragraph of a message as one line that ends as a sentence ends, with no control characters, of at most `longestMessage`
/// characters.
package func userLine(_ message: String) -> String {
  // Past this much nothing could be shown; cutting first keeps a message of megabytes from costing seconds.
  let lines = String(message.prefix(1 << 20)).split(separator: "\n", omittingEmptySubsequences: false)
  let paragraph = lines.drop { $0.allSatisfy(\.isWhitespace) }.prefix { !$0.allSatisfy(\.isWhitespace) }
  var text = paragraph.map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: " ")
  text = String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? "\u{FFFD}" : $0 }))
  text = shortenedWords(shortenedQuotes(text))
  if text.count > longestMessage {
    let end = text.suffix(longestMessage / 3)
    let start = text.prefix(longestMessage - end.count)
    text = "\(start)… (\(grouped(text.count - longestMessage)) characters left out) …\(end)"
  }
  guard let last = text.last else { return "It failed without saying why." }
  return ".!?".contains(last) ? text : "\(text)."
}

/// Four lines of a wide terminal.
package let longestMessage = 640

/// A value as messages show it: whole where it is short, else its beginning and its end with its length.
package func shortened(_ value: some StringProtocol, to limit: Int = 100) -> String {
  guard value.count > limit else { return String(value) }
  let half = limit / 2 - 10
  return "\(value.prefix(half))…\(value.suffix(half)) (\(grouped(value.count)) characters)"
}

/// Names as messages list them: the first ones, and how many more there are.
package func shortList(_ names: some Collection<String>, most: Int = 5) -> String {
  let shown = names.prefix(most).map { shortened($0) }.joined(separator: ", ")
  return names.count > most ? "\(shown) and \(grouped(names.count - most)) more" : shown
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool { scalar.value < 32 || (127..<160).contains(scalar.value) }

/// The longest piece without a space that is left whole: a path may be long, and is what the user must find again.
private let longestWord = 160

private func shortenedWords(_ text: String) -> String {
  guard text.count > longestWord else { return text }
  return text.split(separator: " ", omittingEmptySubsequences: false)
    .map { shortened($0, to: longestWord) }.joined(separator: " ")
}

/// Values stand in quotes, spaces and all.
private func shortenedQuotes(_ text: String) -> String {
  guard text.count > longestWord else { return text }
  return text.replacing(/'([^']{161,})'/) { "'\(shortened($0.1))'" }
}

private func words(of error: any Error) -> String {
  switch error {
  case let error as any SentenceError: return error.sentence
  case let error as EncodingError:
    guard case .invalidValue(let value, let context) = error else { break }
    let isNumber = value is Double || value is Float
    return "\(keyText(context.codingPath)) must be \(isNumber ? "a finite number" : "something that can be written")"
  case let error as DecodingError: return sentence(error)
  case let error as POSIXError: return systemReason(error.code.rawValue)
  default: break
  }
  let bridged = error as NSError
  // Foundation's errors about files carry the system's reason, or stand for one.
  if let code = systemCode(bridged) {
    let path = bridged.userInfo[NSFilePathErrorKey] as? String ?? (bridged.userInfo[NSURLErrorKey] as? URL)?.path
    return path.map { "\($0): \(systemReason(code))" } ?? systemReason(code)
  }
  return "It failed for a reason that has no words yet (\(String(reflecting: type(of: error)))): please report it"
}

private func sentence(_ error: DecodingError) -> String {
  switch error {
  case .keyNotFound(let key, let context): "\(keyText(context.codingPath + [key])) is missing"
  case .valueNotFound(_, let context): "\(keyText(context.codingPath)) has no value"
  case .typeMismatch(_, let context): "\(keyText(context.codingPath)) is of a wrong type"
  case .dataCorrupted(let context):
    context.codingPath.isEmpty ? "it is not JSON, or it is cut off" : "\(keyText(context.codingPath)) cannot be read"
  @unknown default: "it cannot be read"
  }
}

/// Where a JSON text is not what it should be, as half a sentence: "'clips.3.tensors' is missing".
package func jsonReason(_ error: any Error) -> String {
  (error as? DecodingError).map(sentence) ?? "it is not JSON, or it is cut off"
}

private func keyText(_ keys: [any CodingKey]) -> String {
  let path = keys.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
  return path.isEmpty ? "a value" : "'\(shortened(path))'"
}

private func systemCode(_ error: NSError) -> Int32? {
  if error.domain == NSPOSIXErrorDomain { return Int32(truncatingIfNeeded: error.code) }
  if let inner = error.userInfo[NSUnderlyingErrorKey] as? NSError { return systemCode(inner) }
  guard error.domain == NSCocoaErrorDomain else { return nil }
  return switch CocoaError.Code(rawValue: error.code) {
  case .fileNoSuchFile, .fileReadNoSuchFile: ENOENT
  case .fileReadNoPermission, .fileWriteNoPermission: EACCES
  case .fileWriteFileExists: EEXIST
  case .fileWriteOutOfSpace: ENOSPC
  case .fileWriteVolumeReadOnly: EROFS
  case .fileReadTooLarge: EFBIG
  case .fileReadUnknown, .fileWriteUnknown, .fileReadCorruptFile: EIO
  default: nil
  }
}

extension LiveTalkError: SentenceError {}
extension FileError: SentenceError {}
