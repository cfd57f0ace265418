"""Two parts for deflow. Nothing here is imported before deflow asks for a member of their kind."""
