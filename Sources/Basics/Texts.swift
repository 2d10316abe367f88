import Foundation

/// A length of time: "0:07", "1:02:30".
package func timeText(_ seconds: Double) -> String {
  let whole = Int(max(0, min(seconds, 1e9)).rounded())
  let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
  return hours > 0 ? String(format: "%d:%02d:%02d", hours, minutes, rest) : String(format: "%d:%02d", minutes, rest)
}

/// Bytes as people write them: "5.7 GB".
package func byteText(_ bytes: Int) -> String {
  var value = Double(bytes)
  for unit in ["bytes", "kB", "MB", "GB"] {
    if value < 1000 { return unit == "bytes" ? "\(bytes) bytes" : String(format: "%.1f \(unit)", value) }
    value /= 1000
  }
  return String(format: "%.1f TB", value)
}

/// A number with its digits in groups of three: "1,421,187,232".
package func grouped(_ number: Int) -> String {
  let digits = Array(String(abs(number)))
  let groups = stride(from: digits.count, to: 0, by: -3).map { String(digits[max(0, $0 - 3)..<$0]) }
  return (number < 0 ? "-" : "") + groups.reversed().joined(separator: ",")
}

/// "a", "a and b", "a, b and c".
package func listed(_ parts: [String]) -> String {
  guard let last = parts.last, parts.count > 1 else { return parts.first ?? "" }
  return parts.dropLast().joined(separator: ", ") + " and " + last
}
