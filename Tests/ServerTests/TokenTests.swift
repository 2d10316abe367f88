import Crypto
import Foundation
import Testing

@testable import Server

/// Tokens of another implementation, and the keys that they are to be checked with.
struct TokenExamples {
  let secret: String
  let tokens: [String: String]
  let keySet: URL

  init(file: String = #filePath) throws {
    let url = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent("Fixtures/tokens.json")
    let json = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
    secret = try #require(json["secret"] as? String)
    tokens = try #require(json["tokens"] as? [String: String])
    keySet = FileManager.default.temporaryDirectory.appendingPathComponent("livetalk-\(UUID().uuidString).jwks")
    try JSONSerialization.data(withJSONObject: try #require(json["jwks"])).write(to: keySet)
  }

  subscript(name: String) -> String { tokens[name] ?? "" }

  func verifier(secret: Bool = true, issuer: String? = nil, at time: Double? = nil) throws -> TokenVerifier {
    try TokenVerifier(
      secret: secret ? self.secret : nil, file: keySet, audience: "livetalk", issuer: issuer, interval: .zero
    ) { time.map { Date(timeIntervalSince1970: $0) } ?? Date() }
  }

  func remove() { try? FileManager.default.removeItem(at: keySet) }

  /// A token with these claims, and others that make it hold.
  func token(_ claims: [String: Any?] = [:], header: [String: Any] = ["alg": "HS256"]) throws -> String {
    let usual: [String: Any?] = ["sub": "ada", "aud": "livetalk", "exp": Date().timeIntervalSince1970 + 600]
    let all: [String: Any] = usual.merging(claims) { $1 }.compactMapValues { $0 }
    func text(_ data: some DataProtocol) -> String {
      Data(data).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }
    let signed = try [header, all].map { text(try JSONSerialization.data(withJSONObject: $0)) }.joined(separator: ".")
    let key = SymmetricKey(data: Data(secret.utf8))
    return signed + "." + text(Data(HMAC<SHA256>.authenticationCode(for: Data(signed.utf8), using: key)))
  }
}

@Suite struct TokenTests {
  /// What a token is refused with.
  private func refusal(_ token: String, _ verifier: TokenVerifier) -> String? {
    do {
      _ = try verifier.check(token)
      return nil
    } catch {
      #expect(error.code == .unauthorized)
      return error.message
    }
  }

  @Test func tokensOfAnotherImplementationHoldAndForgedOnesDoNot() throws {
    let examples = try TokenExamples()
    defer { examples.remove() }
    let verifier = try examples.verifier()
    for name in ["HS256", "RS256", "ES256", "ES256 without kid"] {
      #expect(try verifier.check(examples[name]) == Caller(user: "ada"), "\(name)")
    }
    let forged = [
      "RS256 by a stranger", "RS256 by a key for sealing", "ES256 by a stranger", "ES256 under another key's name",
      "HS256 by a stranger", "HS256 with the public key",
    ]
    for name in forged {
      #expect(refusal(examples[name], verifier) == "The token is not signed by a key of this server.", "\(name)")
    }
    for name in ["none", "HS512"] {
      #expect(refusal(examples[name], verifier)?.contains("HS256, RS256 and ES256 are") == true, "\(name)")
    }
    // Without its key, a token of a kind that is known is as wrong as a forged one.
    #expect(refusal(examples["HS256"], try examples.verifier(secret: false))?.contains("not signed") == true)
    for text in ["", "a.b", "....", "a.b.c", examples["HS256"] + "=", String(examples["HS256"].dropLast(9))] {
      #expect(refusal(text, verifier) != nil, "\(text)")
    }
  }

  @Test func everyBitOfATokenCounts() throws {
    let examples = try TokenExamples()
    defer { examples.remove() }
    let verifier = try examples.verifier()
    for name in ["HS256", "RS256", "ES256"] {
      let token = Array(examples[name].utf8)
      // The last character of a piece has bits that stand for nothing.
      for place in stride(from: 0, to: token.count - 1, by: 7) where token[place] != 0x2E && token[place + 1] != 0x2E {
        var changed = token
        changed[place] = changed[place] == 0x41 ? 0x42 : 0x41
        #expect(refusal(String(decoding: changed, as: UTF8.self), verifier) != nil, "\(name), byte \(place)")
      }
    }
  }

  @Test func claimsAreCheckedAndSaidInASentence() throws {
    let examples = try TokenExamples()
    defer { examples.remove() }
    let verifier = try examples.verifier(issuer: "https://id.example")
    let now = Date().timeIntervalSince1970
    func refused(_ claims: [String: Any?]) throws -> String? {
      let issued: [String: Any?] = ["iss": "https://id.example"]
      return refusal(try examples.token(issued.merging(claims) { $1 }), verifier)
    }
    #expect(try refused([:]) == nil)
    #expect(try refused(["aud": ["other", "livetalk"], "nbf": now - 5, "exp": Int(now) + 5]) == nil)
    #expect(try refused(["exp": now - 3_600]) == "The token has expired.")
    #expect(try refused(["exp": nil])?.contains("'exp'") == true)
    #expect(try refused(["nbf": now + 3_600]) == "The token is not valid yet.")
    for audience in ["other", nil, [String](), ["live"]] as [Any?] {
      #expect(try refused(["aud": audience])?.contains("'aud' has to name 'livetalk'") == true)
    }
    #expect(try refused(["iss": "https://evil.example"])?.contains("'iss'") == true)
    for user in [nil, "", String(repeating: "x", count: 300)] as [String?] {
      #expect(try refused(["sub": user])?.contains("'sub'") == true)
    }
    for wrong in [["exp": "soon"], ["livetalk": "all"], ["livetalk": ["sessions": "2"]], ["sub": 7]] as [[String: Any]]
    {
      #expect(try refused(wrong) == "The token's claims are of the wrong types.")
    }
    #expect(try refused(["livetalk": ["sessions": -1]])?.contains("limits") == true)
    // What has to be understood and is not (RFC 7515, 4.1.11).
    let critical = try examples.token(header: ["alg": "HS256", "crit": ["exp"], "exp": 1])
    #expect(refusal(critical, try examples.verifier()) != nil)
  }

  @Test func limitsStandInTheClaimLivetalk() throws {
    let examples = try TokenExamples()
    defer { examples.remove() }
    let verifier = try examples.verifier()
    let token = try examples.token(["livetalk": ["sessions": 2, "session_seconds": 90.5, "session": "abc"]])
    #expect(try verifier.check(token) == Caller(user: "ada", sessions: 2, sessionSeconds: 90.5, session: "abc"))
    #expect(try verifier.check(try examples.token(["livetalk": ["admin": true]])) == .administrator)
  }

  @Test func fileOfKeysIsReadAnewWhenItChanges() throws {
    let examples = try TokenExamples()
    defer { examples.remove() }
    let verifier = try examples.verifier()
    #expect(refusal(examples["ES256"], verifier) == nil)
    func write(_ text: String, age: Double) throws {
      try Data(text.utf8).write(to: examples.keySet)
      try FileManager.default.setAttributes(
        [.modificationDate: Date(timeIntervalSinceNow: age)], ofItemAtPath: examples.keySet.path)
    }
    try write("damaged", age: -40)
    #expect(refusal(examples["ES256"], verifier) == nil)
    let secret = Data(String(repeating: "k", count: 32).utf8).base64EncodedString().replacing("=", with: "")
    try write(#"{"keys": [{"kty": "oct", "k": "\#(secret)"}]}"#, age: -20)
    #expect(refusal(examples["ES256"], verifier) != nil)
  }

  @Test func keysThatCannotBeUsedAreRefusedAtStart() throws {
    let examples = try TokenExamples()
    defer { examples.remove() }
    func fault(_ text: String) throws -> String {
      try Data(text.utf8).write(to: examples.keySet)
      let error = #expect(throws: LiveServerSettingsError.self) { try examples.verifier(secret: false) }
      return error?.description ?? ""
    }
    #expect(try fault("[]").contains("is no set of keys"))
    #expect(try fault(#"{"keys": []}"#).contains("has no key for HS256, RS256 or ES256"))
    #expect(try fault(#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}]}"#).contains("of P-256"))
    #expect(try fault(#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#).contains("at least 2048 bits"))
    #expect(try fault(#"{"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}"#).contains("at least 32 bytes"))
    #expect(throws: LiveServerSettingsError.self) {
      try TokenVerifier(secret: "short", file: nil, audience: "livetalk", issuer: nil)
    }
  }
}
