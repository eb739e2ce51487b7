FROM {{ printf "%s:%04d" "fedora" 40 }}
RUN echo {{ printf "%-8s|%+.2e|%#x|%v|%08.3f" .A 12345.678 255 1.5 3.14159 }}
RUN echo {{ len .Base }} {{ slice .Base 0 4 }} {{ index .A 0 }} {{ (index . "A") | printf "%x" }}
RUN test {{ and (gt (len .A) 0) (lt 1 2) | not }} = false
{{ $n := 0x1F }}{{ $c := 1+2i }}{{ $f := 1_000.5 }}LABEL n={{ $n }} c={{ $c }} f={{ $f }} r={{ 'a' }}
RUN echo {{ println "a" 1 nil true .N -}} done {{ print 1 2 "x" 3 }}
{{ "raw }} text" }} {{ `back
quoted` }}
