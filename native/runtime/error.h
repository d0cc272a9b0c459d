// The error of the native side. Bindings turn it into a TypeError, a RangeError or a SeqriskError with a code.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace seqrisk {

class Error : public std::exception {
 public:
  enum class Kind { type, range, coded };

  static Error type(std::string message) { return Error(Kind::type, "", std::move(message)); }
  static Error range(std::string message) { return Error(Kind::range, "", std::move(message)); }
  static Error coded(std::string code, std::string message) {
    return Error(Kind::coded, std::move(code), std::move(message));
  }

  const char* what() const noexcept override { return message_.c_str(); }
  Kind kind() const { return kind_; }
  const std::string& code() const { return code_; }

 private:
  Error(Kind kind, std::string code, std::string message)
      : kind_(kind), code_(std::move(code)), message_(std::move(message)) {}

  Kind kind_;
  std::string code_;
  std::string message_;
};

}  // namespace seqrisk
