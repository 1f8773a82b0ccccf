# Ask Envoy to take nothing new, and wait until nothing is active. With bash alone: the image has no curl.
ask() {
  exec 3<>/dev/tcp/127.0.0.1/${ENVOY_ADMIN_PORT:-9901} || return 1
  printf '%s HTTP/1.1\r\nHost: envoy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "$1" >&3
  cat <&3
  exec 3>&-
}

ask 'POST /drain_listeners?graceful&skip_exit' >/dev/null || exit 0
# As long as the kubelet and those who balance still send new requests here.
sleep "${1:-5}"
while ask 'GET /stats?filter=^http\.clients\.downstream_rq_active$' | grep -q 'downstream_rq_active: [1-9]'; do
  sleep 1
done
