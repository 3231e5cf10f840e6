"""Items for the national online-monitoring system of key energy users (重点用能单位能耗在线监测系统)."""
