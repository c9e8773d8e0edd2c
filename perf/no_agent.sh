#!/bin/sh
# Stands in for Ray's Python agents on a simulated node: notes ports that nobody listens at, and sleeps.
for argument; do
  case $argument in
    --node-id=*) node=${argument#*=} ;;
    --session-dir=*) session=${argument#*=} ;;
  esac
done
for name in metrics_agent_port metrics_export_port dashboard_agent_listen_port runtime_env_agent_port; do
  echo 1 > "$session/.$name.$$"
  mv "$session/.$name.$$" "$session/${name}_$node"
done
exec sleep infinity
